//! The file format of recordings.

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    path::Path,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use lookout_schema::RecordKind;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Recorded;

/// An error of a recording.
#[derive(Debug, Error)]
pub enum RecordingError {
    /// The file cannot be read or written.
    #[error("it cannot be read or written: {0}")]
    Io(#[from] io::Error),
    /// The file does not start with the line of a recording.
    #[error("it is not a recording of `lookout tail --save`")]
    NoRecording,
    /// Another version of Lookout wrote the recording.
    #[error("it is a recording of version {0}, but this program reads version {VERSION} only")]
    Version(u32),
    /// A line cannot be parsed.
    #[error("line {line} is not a valid message: {reason}")]
    Line {
        /// The number of the line, from 1.
        line: u64,
        /// Why it is not valid.
        reason: String,
    },
}

const VERSION: u32 = 1;
/// Maximum length of a line in bytes; many times Kafka's default limit for a message.
const MAX_LINE: u64 = 64 << 20;

/// The first line of the file.
#[derive(Serialize, Deserialize)]
struct Head {
    lookout_recording: u32,
    /// The number of partitions of each topic.
    #[serde(default)]
    partitions: BTreeMap<Topic, u16>,
}

/// A message; each line after the first one.
#[derive(Serialize, Deserialize)]
struct Line {
    topic: Topic,
    partition: i32,
    offset: i64,
    #[serde(default)]
    time_ms: Option<i64>,
    #[serde(default)]
    key: Option<Bytes>,
    #[serde(default)]
    value: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<Header>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    name: String,
    #[serde(default)]
    value: Option<Bytes>,
}

/// The topics that are recorded. The registry is not among them: replaying it would restore removed cameras.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Topic {
    Frames,
    Status,
    Snapshots,
    Tracks,
    Alerts,
}

impl Topic {
    fn of(kind: RecordKind) -> Option<Self> {
        match kind {
            RecordKind::Frame => Some(Self::Frames),
            RecordKind::Status => Some(Self::Status),
            RecordKind::Snapshot => Some(Self::Snapshots),
            RecordKind::Track => Some(Self::Tracks),
            RecordKind::Alert => Some(Self::Alerts),
            RecordKind::Camera => None,
        }
    }

    fn kind(self) -> RecordKind {
        match self {
            Self::Frames => RecordKind::Frame,
            Self::Status => RecordKind::Status,
            Self::Snapshots => RecordKind::Snapshot,
            Self::Tracks => RecordKind::Track,
            Self::Alerts => RecordKind::Alert,
        }
    }
}

/// UTF-8 text is stored unchanged, so that JSON records can be searched and compress well; other bytes are stored in
/// base64.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Bytes {
    Text(String),
    Base64 { base64: String },
}

impl Bytes {
    fn new(bytes: &[u8]) -> Self {
        match str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64 { base64: STANDARD.encode(bytes) },
        }
    }

    fn into_vec(self) -> Result<Vec<u8>, String> {
        match self {
            Self::Text(text) => Ok(text.into_bytes()),
            Self::Base64 { base64 } => STANDARD.decode(base64).map_err(|error| error.to_string()),
        }
    }
}

/// Writes a recording.
pub struct RecordingWriter {
    out: Out,
}

enum Out {
    Plain(BufWriter<File>),
    Gzip(GzEncoder<BufWriter<File>>),
    Zstd(zstd::stream::write::Encoder<'static, BufWriter<File>>),
}

impl Out {
    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Plain(out) => out,
            Self::Gzip(out) => out,
            Self::Zstd(out) => out,
        }
    }
}

impl RecordingWriter {
    /// Creates the file, compressed if its name ends in `.zst` or `.gz`. `partitions` are the partition counts of the
    /// topics.
    ///
    /// # Errors
    /// The file exists already, and is not overwritten because it may be the only copy; or it cannot be created.
    pub fn create(file: &Path, partitions: &BTreeMap<RecordKind, u16>) -> io::Result<Self> {
        let out = BufWriter::new(File::create_new(file)?);
        let out = match file.extension().and_then(|ending| ending.to_str()) {
            Some("zst") => {
                Out::Zstd(zstd::stream::write::Encoder::new(out, zstd::DEFAULT_COMPRESSION_LEVEL)?)
            }
            Some("gz") => Out::Gzip(GzEncoder::new(out, Compression::default())),
            _ => Out::Plain(out),
        };
        let mut writer = Self { out };
        let topics = partitions.iter().filter_map(|(kind, count)| Some((Topic::of(*kind)?, *count)));
        writer.line(&Head { lookout_recording: VERSION, partitions: topics.collect() })?;
        Ok(writer)
    }

    /// Adds a message. Messages of the registry are ignored.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, message: &Recorded) -> io::Result<()> {
        let Some(topic) = Topic::of(message.kind) else { return Ok(()) };
        let header = |(name, value): &(String, Option<Vec<u8>>)| Header {
            name: name.clone(),
            value: value.as_deref().map(Bytes::new),
        };
        self.line(&Line {
            topic,
            partition: message.partition,
            offset: message.offset,
            time_ms: message.time_ms,
            key: message.key.as_deref().map(Bytes::new),
            value: message.value.as_deref().map(Bytes::new),
            headers: message.headers.iter().map(header).collect(),
        })
    }

    fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        let out = self.out.writer();
        serde_json::to_writer(&mut *out, line)?;
        out.write_all(b"\n")
    }

    /// Passes all written data to the operating system, so that it survives a crash of this program.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.writer().flush()
    }

    /// Finishes the file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(self) -> io::Result<()> {
        match self.out {
            Out::Plain(mut out) => out.flush(),
            Out::Gzip(out) => out.finish()?.flush(),
            Out::Zstd(out) => out.finish()?.flush(),
        }
    }
}

impl fmt::Debug for RecordingWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordingWriter").finish_non_exhaustive()
    }
}

/// A recording that is being read.
pub struct Recording {
    input: Box<dyn BufRead>,
    partitions: BTreeMap<RecordKind, u16>,
    line: u64,
    cut: bool,
}

impl Recording {
    /// Opens a file. Its first bytes determine the compression.
    ///
    /// # Errors
    /// The file cannot be read, or is not a recording.
    pub fn open(file: &Path) -> Result<Self, RecordingError> {
        let mut file = BufReader::new(File::open(file)?);
        let input: Box<dyn BufRead> = match file.fill_buf()? {
            [0x1F, 0x8B, ..] => Box::new(BufReader::new(MultiGzDecoder::new(file))),
            [0x28, 0xB5, 0x2F, 0xFD, ..] => {
                Box::new(BufReader::new(zstd::stream::read::Decoder::with_buffer(file)?))
            }
            _ => Box::new(file),
        };
        let mut recording = Self { input, partitions: BTreeMap::new(), line: 0, cut: false };
        let first = recording.read_line()?.ok_or(RecordingError::NoRecording)?;
        let head: Head = serde_json::from_slice(&first).map_err(|_| RecordingError::NoRecording)?;
        if head.lookout_recording != VERSION {
            return Err(RecordingError::Version(head.lookout_recording));
        }
        recording.partitions = head.partitions.iter().map(|(topic, count)| (topic.kind(), *count)).collect();
        Ok(recording)
    }

    /// Returns the number of partitions of the recorded topics.
    pub fn partitions(&self) -> &BTreeMap<RecordKind, u16> {
        &self.partitions
    }

    /// Returns the next message; `None` at the end or if the file is truncated, which [`Self::is_cut_off`] reports.
    ///
    /// # Errors
    /// A complete line is not a message, or the file cannot be read.
    pub fn next_message(&mut self) -> Result<Option<Recorded>, RecordingError> {
        let Some(text) = self.read_line()? else { return Ok(None) };
        let bad = |reason: String| RecordingError::Line { line: self.line, reason };
        let line: Line = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
        let bytes = |bytes: Option<Bytes>| bytes.map(Bytes::into_vec).transpose().map_err(bad);
        let headers = line.headers.into_iter().map(|header| Ok((header.name, bytes(header.value)?)));
        Ok(Some(Recorded {
            kind: line.topic.kind(),
            partition: line.partition,
            offset: line.offset,
            time_ms: line.time_ms,
            key: bytes(line.key)?,
            value: bytes(line.value)?,
            headers: headers.collect::<Result<_, RecordingError>>()?,
        }))
    }

    /// Returns whether the file ends in the middle of a message or of the compressed data.
    pub fn is_cut_off(&self) -> bool {
        self.cut
    }

    /// Returns the next complete line.
    fn read_line(&mut self) -> Result<Option<Vec<u8>>, RecordingError> {
        let mut line = Vec::new();
        match (&mut self.input).take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.cut = true,
            Err(error) => return Err(error.into()),
        }
        if line.last() == Some(&b'\n') {
            self.line += 1;
            return Ok(Some(line));
        }
        if line.len() as u64 == MAX_LINE {
            return Err(RecordingError::Line { line: self.line + 1, reason: "it is too long".into() });
        }
        self.cut |= !line.is_empty();
        Ok(None)
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").field("line", &self.line).field("cut", &self.cut).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn messages() -> Vec<Recorded> {
        let message = |offset: i64| Recorded {
            kind: if offset % 3 == 0 { RecordKind::Status } else { RecordKind::Frame },
            partition: (offset % 4) as i32,
            offset,
            time_ms: (offset != 5).then_some(1_764_000_000_000 + offset),
            key: (offset != 6).then(|| b"gate".to_vec()),
            value: match offset {
                7 => None,
                // Protobuf, which is not valid UTF-8.
                8 => Some(vec![0x0A, 0xFF, 0x00]),
                _ => Some(format!("{{\"seq\": {offset}, \"label\": \"a \\\"b\\\"\\n\"}}").into_bytes()),
            },
            headers: match offset {
                9 => vec![("trace".into(), Some(vec![0xFF])), ("none".into(), None)],
                _ => Vec::new(),
            },
        };
        (0..200).map(message).collect()
    }

    /// A recording of [`messages`], of which the second half may not have been flushed.
    fn record(file: &Path) {
        let mut writer = RecordingWriter::create(file, &[(RecordKind::Frame, 4)].into()).unwrap();
        for (n, message) in messages().iter().enumerate() {
            writer.write(message).unwrap();
            if n == 99 {
                writer.flush().unwrap();
            }
        }
        writer.finish().unwrap();
    }

    fn read(file: &Path) -> (Vec<Recorded>, bool) {
        let mut recording = Recording::open(file).unwrap();
        assert_eq!(recording.partitions(), &[(RecordKind::Frame, 4)].into());
        let messages = std::iter::from_fn(|| recording.next_message().unwrap()).collect();
        (messages, recording.is_cut_off())
    }

    #[test]
    fn reads_a_recording_and_the_flushed_part_of_a_truncated_one() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"] {
            let file = folder.path().join(name);
            record(&file);
            assert_eq!(read(&file), (messages(), false), "{name}");
            let whole = fs::read(&file).unwrap();
            let cut = folder.path().join("cut");
            fs::write(&cut, &whole[..whole.len() - 5]).unwrap();
            let (left, is_truncated) = read(&cut);
            assert!(
                is_truncated && left.len() >= 100 && messages().starts_with(&left),
                "{name}: {}",
                left.len()
            );
            assert!(RecordingWriter::create(&file, &BTreeMap::new()).is_err(), "the file exists already");
        }
    }

    #[test]
    fn rejects_files_that_are_not_recordings() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let error_of = |text: &str| {
            fs::write(&file, text).unwrap();
            let mut recording = match Recording::open(&file) {
                Ok(recording) => recording,
                Err(error) => return error.to_string(),
            };
            recording.next_message().unwrap_err().to_string()
        };
        for none in ["", "{\"lookout_recor", "hello\n", "{\"schema\": \"lookout.frame/1\"}\n"] {
            assert!(error_of(none).contains("not a recording"), "{none:?}");
        }
        assert!(error_of("{\"lookout_recording\": 2}\n").contains("version 2"));
        let head = "{\"lookout_recording\": 1}\n";
        assert!(
            error_of(&format!("{head}{{\"topic\": \"cameras\"}}\n"))
                .starts_with("line 2 is not a valid message")
        );
        let base64 = "{\"topic\":\"frames\",\"partition\":0,\"offset\":0,\"value\":{\"base64\":\"?\"}}\n";
        assert!(error_of(&format!("{head}{base64}")).starts_with("line 2 is not a valid message"));
    }
}
