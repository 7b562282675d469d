//! AVI files: RIFF (Microsoft Multimedia Programming Interface 1.0), OpenDML 1.02.

use std::io::{self, Read, Seek};

use super::{Truncation, read_at};

/// Returns whether the file is shorter than its lists state and its header states more frames than the
/// `packets` that the demuxer produced.
///
/// Each condition alone also holds for complete files. Some writers count a chunk's header as content or
/// round a length up. Some headers have a frame count that was never filled in, or that covers only the first
/// of several RIFF chunks.
pub(super) fn truncation(
    file: &mut (impl Read + Seek),
    length: u64,
    packets: u64,
) -> io::Result<Option<Truncation>> {
    let (mut at, mut end, mut frames, mut is_open) = (0u64, 0u64, None, false);
    while let Some(chunk) = Chunk::at(file, at)?.filter(|chunk| &chunk.name == b"RIFF") {
        // A size of 0 or of all ones was never filled in: the file was still being written.
        is_open |= chunk.size == 0 || chunk.size == u32::MAX;
        end = chunk.end();
        if at == 0 {
            frames = first_video_frames(file, length.min(end))?;
        }
        at = end;
        if at >= length {
            break;
        }
    }
    // Writers often omit the last padding byte.
    let missing = end.saturating_sub(length);
    if is_open || missing <= 1 || frames.is_some_and(|frames: u64| frames > 0 && packets >= frames) {
        return Ok(None);
    }
    let frames = frames.filter(|frames| *frames > 0).map(|frames| frames - packets);
    if frames.is_none() && has_index(file, length)? {
        return Ok(None);
    }
    Ok(Some(Truncation::Missing { bytes: missing, frames }))
}

/// The header of a chunk.
struct Chunk {
    name: [u8; 4],
    size: u32,
    at: u64,
}

impl Chunk {
    fn at(file: &mut (impl Read + Seek), at: u64) -> io::Result<Option<Self>> {
        let mut head = [0; 8];
        if read_at(file, at, &mut head)? < head.len() {
            return Ok(None);
        }
        let [n, a, m, e, s @ ..] = head;
        Ok(Some(Self { name: [n, a, m, e], size: u32::from_le_bytes(s), at }))
    }

    fn content(&self) -> u64 {
        self.at + 8
    }

    /// The offset of the end of the chunk and its padding byte.
    fn end(&self) -> u64 {
        self.content() + u64::from(self.size) + u64::from(self.size % 2)
    }
}

/// Returns the frame count in the header of the first video stream.
fn first_video_frames(file: &mut (impl Read + Seek), end: u64) -> io::Result<Option<u64>> {
    // Lists nest. The loop descends only into those that lead to the stream headers.
    let mut at = 12;
    while at < end
        && let Some(chunk) = Chunk::at(file, at)?
    {
        let mut content = [0; 36];
        let got = read_at(file, chunk.content(), &mut content)?;
        at = match (&chunk.name, &content[..4]) {
            (b"LIST", b"hdrl" | b"strl") => chunk.content() + 4,
            (b"LIST", b"movi") => break,
            (b"strh", b"vids") if got == content.len() => {
                let [.., a, b, c, d] = content;
                return Ok(Some(u32::from_le_bytes([a, b, c, d]).into()));
            }
            _ => chunk.end(),
        };
    }
    Ok(None)
}

/// Returns whether the index follows the frames. If it does, all frames are in the file.
fn has_index(file: &mut (impl Read + Seek), length: u64) -> io::Result<bool> {
    let mut at = 12;
    while at < length
        && let Some(chunk) = Chunk::at(file, at)?
    {
        if &chunk.name == b"idx1" {
            return Ok(true);
        }
        at = chunk.end();
    }
    Ok(false)
}
