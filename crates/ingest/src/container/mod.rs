//! What a file's container promises: its video tracks, how many frames they have, and which of them the
//! file is too short for.
//!
//! GStreamer's demuxers read a file as far as it goes and report the end of the stream, whether or not
//! the container has more. The readers here take only the tables and the headers of blocks, never pixels,
//! and stop without an error where they do not understand a file: such a file promises nothing.

mod matroska;
mod mp4;
mod riff;

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

/// What a container says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) video: Vec<VideoTrack>,
    /// Whether there is a track of another kind, such as sound.
    pub(crate) has_other_tracks: bool,
    /// Whether all tracks are sound.
    pub(crate) is_sound_only: bool,
    /// Bytes of the file's headers to replace for the demuxer.
    pub(crate) corrections: Vec<Correction>,
}

/// A video track of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct VideoTrack {
    /// The number at the end of the stream id that GStreamer's demuxer gives the track.
    pub(crate) stream: u64,
    /// Frames that the track has; one or more where only a part of the file was read.
    pub(crate) frames: u64,
    /// Whether an edit list says which frames are shown.
    pub(crate) has_edits: bool,
}

/// Bytes to be read as others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Correction {
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
}

/// Why a file has fewer frames than its container promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CutOff {
    /// The data of frames would lie behind the end of the file.
    Missing { bytes: u64, frames: Option<u64> },
    /// The index that recorders write when they stop is not there.
    NoIndex,
}

/// The kind of a container, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Riff,
    Mp4,
    Matroska,
}

/// Reads what the container of the regular file at `path` promises. None for other containers, and for
/// pipes, which would wait for their writer.
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

/// Why the file at `path` gave fewer frames than its container promises, if it did. `packets` is the
/// number of packets that the demuxer gave for the video.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn cut_off(path: &Path, packets: u64) -> io::Result<Option<CutOff>> {
    let Some((mut file, length, kind)) = open(path)? else { return Ok(None) };
    match kind {
        Kind::Riff => riff::cut_off(&mut file, length, packets),
        Kind::Mp4 => mp4::cut_off(&mut file, length),
        Kind::Matroska => matroska::cut_off(&mut file, length),
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
        // QuickTime files of old begin with any of these.
        [_, _, _, _, name @ ..] => {
            let names = [b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp"];
            names.iter().any(|known| name.starts_with(*known)).then_some(Kind::Mp4)
        }
        _ => None,
    }
}

/// Fills `buffer` from `at` on as far as the file goes, and returns how far.
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

/// `size` bytes from `at` on, or fewer where the file ends before; none above a size that no index has.
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
        fn any_bytes_are_read_without_harm(
            kind in 0usize..3, tail in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let head = [&b"RIFF\0\0\0\0AVI "[..], b"\0\0\0\x10ftyp", &[0x1a, 0x45, 0xdf, 0xa3]][kind];
            let bytes = [head, &tail].concat();
            let length = bytes.len() as u64;
            let mut file = Cursor::new(bytes);
            let _ = riff::cut_off(&mut file, length, 7);
            let _ = (mp4::read(&mut file, length), mp4::cut_off(&mut file, length));
            let _ = (matroska::read(&mut file, length), matroska::cut_off(&mut file, length));
        }
    }
}
