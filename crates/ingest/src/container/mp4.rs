//! ISO base media files: MP4, MOV, 3GP (ISO/IEC 14496-12).

mod movie;

use std::io::{self, Read, Seek};

use movie::{Lost, Movie};

use super::{Container, Correction, Truncation, VideoTrack, read_at, read_block};

/// Reads the video tracks, and corrects durations that qtdemux would misread.
///
/// qtdemux of GStreamer 1.22 handles durations wrongly in three cases:
///
/// - It ends a track with an edit list where the track's media time reaches the movie's duration, although
///   the media of a trimmed file starts seconds later than that.
/// - It ignores tracks that are shorter than a fifth of the movie.
/// - It ends a track without an edit list at the duration in the track's header, although the sample table
///   may extend beyond it.
///
/// The first two cases do not occur if the movie's duration is unknown, so that is set to 0. For the third, the
/// track's duration is set to the sum of its samples' durations.
pub(super) fn read(file: &mut (impl Read + Seek), length: u64) -> io::Result<Option<Container>> {
    let layout = Layout::of(file, length)?;
    let Some((at, moov)) = layout.moov else { return Ok(None) };
    let movie = Movie::of(&moov);
    let mut container = Container {
        has_other_tracks: movie.tracks.iter().any(|track| !track.is_video),
        is_sound_only: !movie.tracks.is_empty() && movie.tracks.iter().all(|track| track.is_sound),
        ..Container::default()
    };
    let mut correct = |field: &Field, value: u64| {
        // 0 means that the duration is unknown.
        let value = if field.width == 4 && value >= u64::from(u32::MAX) { 0 } else { value };
        let bytes = value.to_be_bytes()[8 - field.width..].to_vec();
        container.corrections.push(Correction { offset: at + field.offset as u64, bytes });
    };
    if let Some(duration) = &movie.duration
        && !movie.is_fragmented
    {
        correct(duration, 0);
    }
    for track in &movie.tracks {
        if let Some(duration) = &track.duration
            && !track.has_edits
            && !movie.is_fragmented
            && duration.value != 0
            && duration.value < track.samples_duration
        {
            correct(duration, track.samples_duration);
        }
    }
    let videos = movie.tracks.iter().filter(|track| track.is_video);
    container.video = videos
        .map(|track| VideoTrack {
            stream: track.id.into(),
            // The sample table of a fragmented file is empty: its samples are counted in its fragments, if at
            // all.
            frames: if movie.is_fragmented { u64::MAX } else { track.samples },
            has_edits: track.has_edits,
        })
        .collect();
    Ok(Some(container))
}

/// Returns whether the file ends before some samples of a video track.
pub(super) fn truncation(file: &mut (impl Read + Seek), length: u64) -> io::Result<Option<Truncation>> {
    let layout = Layout::of(file, length)?;
    let behind_end = layout.end.checked_sub(length).filter(|missing| *missing > 0);
    let Some((_, moov)) = layout.moov else {
        return Ok(match behind_end {
            _ if layout.has_index => None,
            Some(bytes) => Some(Truncation::Missing { bytes, frames: None }),
            None if layout.has_media => Some(Truncation::NoIndex),
            None => None,
        });
    };
    let movie = Movie::of(&moov);
    let mut lost = Lost { length, frames: 0, end: length };
    movie.tracks.iter().filter(|track| track.is_video).for_each(|track| track.lost(&mut lost));
    let mut whole_fragments = true;
    for (at, size) in layout.fragments {
        match read_block(file, at, size)? {
            Some(moof) if moof.len() as u64 == size => movie.fragment_lost(at, &moof, &mut lost),
            _ => whole_fragments = false,
        }
    }
    let missing = Truncation::Missing { bytes: lost.end - length, frames: Some(lost.frames) };
    Ok(match behind_end {
        _ if lost.frames > 0 => Some(missing),
        // The contents of the last fragment are unknown.
        Some(bytes) if !whole_fragments => Some(Truncation::Missing { bytes, frames: None }),
        _ => None,
    })
}

/// The boxes at the top level of a file.
#[derive(Debug, Default)]
struct Layout {
    /// Offset of the index, and its bytes.
    moov: Option<(u64, Vec<u8>)>,
    /// Whether the whole index is in the file. It may still be too large to be read.
    has_index: bool,
    /// Offsets and sizes of the fragments' indexes.
    fragments: Vec<(u64, u64)>,
    has_media: bool,
    /// Where the last index or media box ends according to its stated size.
    end: u64,
}

impl Layout {
    fn of(file: &mut (impl Read + Seek), length: u64) -> io::Result<Self> {
        let mut layout = Self::default();
        let mut at = 0u64;
        while at < length {
            let mut head = [0; 16];
            let got = read_at(file, at, &mut head)?;
            let Some(found) = BoxHead::of(&head[..got], length - at) else { break };
            let size = found.size;
            let end = at.saturating_add(size);
            match &found.name {
                b"moov" if layout.moov.is_none() => {
                    layout.end = layout.end.max(end);
                    // A truncated index is useless.
                    if end <= length {
                        layout.has_index = true;
                        layout.moov = read_block(file, at, size)?.map(|moov| (at, moov));
                    }
                }
                b"mdat" => {
                    layout.has_media = true;
                    layout.end = layout.end.max(end);
                }
                b"moof" => {
                    layout.end = layout.end.max(end);
                    layout.fragments.push((at, size));
                }
                // Text, zeros and other trailers that cameras append to a file.
                _ => {}
            }
            at = end;
        }
        Ok(layout)
    }
}

/// The header of a box: its size and name.
struct BoxHead {
    name: [u8; 4],
    /// Size of the box, including its header.
    size: u64,
    head: usize,
}

impl BoxHead {
    /// Parses the header at the start of `bytes`. `left` is the number of bytes left in the enclosing box or
    /// file.
    fn of(bytes: &[u8], left: u64) -> Option<Self> {
        let (size, name) = (u32_at(bytes, 0)?, bytes.get(4..8)?.try_into().ok()?);
        let (size, head) = match size {
            // The box extends to the end of the enclosing box or file.
            0 => (left, 8),
            1 => (u64_at(bytes, 8)?, 16),
            size => (u64::from(size), 8),
        };
        (size >= head as u64).then_some(Self { name, size, head })
    }
}

/// Returns the names of the boxes in `data[range]` and the ranges of their contents.
fn boxes(data: &[u8], range: std::ops::Range<usize>) -> Vec<([u8; 4], std::ops::Range<usize>)> {
    let (mut at, mut found) = (range.start, Vec::new());
    while let Some(rest) = data.get(at..range.end).filter(|rest| !rest.is_empty()) {
        let Some(head) = BoxHead::of(rest, rest.len() as u64) else { break };
        let end = usize::try_from(head.size).map_or(range.end, |size| at.saturating_add(size).min(range.end));
        found.push((head.name, (at + head.head).min(end)..end));
        at = end;
    }
    found
}

/// An unsigned number in the index, and where it is stored.
#[derive(Debug)]
struct Field {
    offset: usize,
    width: usize,
    value: u64,
}

impl Field {
    fn of(data: &[u8], offset: usize, is_long: bool) -> Option<Self> {
        let value = if is_long { u64_at(data, offset)? } else { u32_at(data, offset)?.into() };
        Some(Self { offset, width: if is_long { 8 } else { 4 }, value })
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(data.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(data: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(data.get(at..at.checked_add(8)?)?.try_into().ok()?))
}
