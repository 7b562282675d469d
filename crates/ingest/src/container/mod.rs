//! Reads from a file's container which video tracks it has, how many frames these have, and whether the file
//! is truncated.
//!
//! GStreamer's demuxers read a truncated file as far as it goes and then report the end of the stream. The
//! readers in this module find the frames that are missing. They parse only the tables and block headers,
//! never pixels. A file that they cannot parse is not an error: it then counts as complete.

mod matroska;
mod mp4;
mod riff;

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

/// A container's description of its tracks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) video: Vec<VideoTrack>,
    /// Whether there is a track that is not video, such as audio.
    pub(crate) has_other_tracks: bool,
    /// Whether all tracks are audio.
    pub(crate) is_sound_only: bool,
    /// Replacements for bytes of the file's headers that the demuxer would misread.
    pub(crate) corrections: Vec<Correction>,
}

/// A video track of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct VideoTrack {
    /// The number at the end of the stream id that GStreamer's demuxer gives the track.
    pub(crate) stream: u64,
    /// Number of frames. If only a part of the file was read, a lower bound that is at least 1.
    pub(crate) frames: u64,
    /// Whether an edit list selects the frames that are displayed.
    pub(crate) has_edits: bool,
}

/// Bytes that replace those at `offset` of the file when the demuxer reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Correction {
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
}

/// Why a file is truncated: it has fewer frames than its container states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Truncation {
    /// The file ends before the data of the last frames.
    Missing { bytes: u64, frames: Option<u64> },
    /// The index is missing, which recorders write when they stop.
    NoIndex,
}

/// A container format, recognized by the first bytes of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Riff,
    Mp4,
    Matroska,
}

/// Returns the tracks that the container of the regular file at `path` states.
///
/// Returns None for other container formats, and for pipes, which would block until they have a writer.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn read(path: &Path) -> io::Result<Option<Container>> {
    let Some((mut file, length, kind)) = open(path)? else { return Ok(None) };
    match kind {
        Kind::Riff => Ok(None),
        Kind::Mp4 => mp4::read(&mut file, length),
        Kind::Matroska => matroska::read(&mut file, length),
    }
}

/// Returns why the file at `path` is truncated, or None if it is complete.
///
/// `packets` is the number of packets that the demuxer produced for the video.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn truncation(path: &Path, packets: u64) -> io::Result<Option<Truncation>> {
    let Some((mut file, length, kind)) = open(path)? else { return Ok(None) };
    match kind {
        Kind::Riff => riff::truncation(&mut file, length, packets),
        Kind::Mp4 => mp4::truncation(&mut file, length),
        Kind::Matroska => matroska::truncation(&mut file, length),
    }
}

fn open(path: &Path) -> io::Result<Option<(File, u64, Kind)>> {
    if !path.metadata()?.is_file() {
        return Ok(None);
    }
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut head = [0; 12];
    let got = read_at(&mut file, 0, &mut head)?;
    Ok(kind(&head[..got]).map(|kind| (file, length, kind)))
}

fn kind(head: &[u8]) -> Option<Kind> {
    match head {
        [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', ..] => Some(Kind::Riff),
        [0x1a, 0x45, 0xdf, 0xa3, ..] => Some(Kind::Matroska),
        // Old QuickTime files start with any of these boxes.
        [_, _, _, _, name @ ..] => {
            let names = [b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp"];
            names.iter().any(|known| name.starts_with(*known)).then_some(Kind::Mp4)
        }
        _ => None,
    }
}

/// Fills `buffer` with the bytes at offset `at`, and returns their number, which is smaller at the end of the
/// file.
fn read_at(file: &mut (impl Read + Seek), at: u64, buffer: &mut [u8]) -> io::Result<usize> {
    file.seek(SeekFrom::Start(at))?;
    let mut got = 0;
    while got < buffer.len() {
        match file.read(&mut buffer[got..])? {
            0 => break,
            more => got += more,
        }
    }
    Ok(got)
}

/// Returns `size` bytes from offset `at`, or fewer at the end of the file.
///
/// Returns None for sizes over 256 MiB, which no valid index has.
fn read_block(file: &mut (impl Read + Seek), at: u64, size: u64) -> io::Result<Option<Vec<u8>>> {
    const MAX_BLOCK: u64 = 1 << 28;
    if size > MAX_BLOCK {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(at))?;
    let mut block = Vec::new();
    file.take(size).read_to_end(&mut block)?;
    Ok(Some(block))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(
            kind in 0usize..3, tail in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let head = [&b"RIFF\0\0\0\0AVI "[..], b"\0\0\0\x10ftyp", &[0x1a, 0x45, 0xdf, 0xa3]][kind];
            let bytes = [head, &tail].concat();
            let length = bytes.len() as u64;
            let mut file = Cursor::new(bytes);
            let _ = riff::truncation(&mut file, length, 7);
            let _ = (mp4::read(&mut file, length), mp4::truncation(&mut file, length));
            let _ = (matroska::read(&mut file, length), matroska::truncation(&mut file, length));
        }
    }
}
