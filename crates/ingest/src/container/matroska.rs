//! Matroska and WebM (RFC 8794, RFC 9559).

use std::io::{self, Read, Seek};

use super::{Container, Truncation, VideoTrack, read_at, read_block};

const SEGMENT: u32 = 0x1853_8067;
const INFO: u32 = 0x1549_a966;
const TIMESTAMP_SCALE: u32 = 0x2a_d7b1;
const DURATION: u32 = 0x4489;
const TRACKS: u32 = 0x1654_ae6b;
const TRACK_ENTRY: u32 = 0xae;
const TRACK_NUMBER: u32 = 0xd7;
const TRACK_UID: u32 = 0x73c5;
const TRACK_TYPE: u32 = 0x83;
const CLUSTER: u32 = 0x1f43_b675;
const TIMESTAMP: u32 = 0xe7;
const SIMPLE_BLOCK: u32 = 0xa3;
const BLOCK_GROUP: u32 = 0xa0;
const BLOCK: u32 = 0xa1;

/// The number of blocks that are read to count the tracks' frames.
const COUNTED_BLOCKS: usize = 2000;

/// By how much the stated duration may exceed the end of the last frame, because of rounding and of the last
/// frame's own duration.
const TOLERANCE_NS: f64 = 0.5e9;

/// Reads the tracks, and counts their frames in the first [`COUNTED_BLOCKS`] blocks.
pub(super) fn read(file: &mut (impl Read + Seek), length: u64) -> io::Result<Option<Container>> {
    let Some(mut segment) = Segment::open(file, length)? else { return Ok(None) };
    let mut blocks = Vec::new();
    while blocks.len() < COUNTED_BLOCKS
        && let Some(element) = segment.next(file)?
    {
        if element.id == CLUSTER {
            cluster_blocks(file, &element, length, COUNTED_BLOCKS - blocks.len(), &mut blocks)?;
        }
    }
    let video = segment.tracks.iter().filter(|track| track.is_video());
    let container = Container {
        video: video
            .map(|track| VideoTrack {
                stream: track.uid,
                frames: blocks.iter().filter(|block| block.track == track.number).count() as u64,
                has_edits: false,
            })
            .collect(),
        is_sound_only: !segment.tracks.is_empty() && segment.tracks.iter().all(|track| track.kind == 2),
        has_other_tracks: segment.tracks.iter().any(|track| !track.is_video()),
        corrections: Vec::new(),
    };
    Ok(Some(container))
}

/// Returns whether the file ends within a video frame, or before the duration that its header states.
pub(super) fn truncation(file: &mut (impl Read + Seek), length: u64) -> io::Result<Option<Truncation>> {
    let Some(mut segment) = Segment::open(file, length)? else { return Ok(None) };
    // A file without a stated length was recorded live or streamed. It may end anywhere.
    let Some(bytes) = segment.end.and_then(|end| end.checked_sub(length)).filter(|missing| *missing > 0)
    else {
        return Ok(None);
    };
    let mut last = Vec::new();
    while let Some(element) = segment.next(file)? {
        if element.id == CLUSTER {
            last.push(element);
            // The last block of a track may be in the last cluster but one.
            if last.len() > 2 {
                last.remove(0);
            }
        }
    }
    let mut blocks = Vec::new();
    for cluster in &last {
        cluster_blocks(file, cluster, length, usize::MAX, &mut blocks)?;
    }
    let is_video = |number| segment.tracks.iter().any(|track| track.number == number && track.is_video());
    let cut = blocks.iter().any(|block| block.end > length && is_video(block.track));
    let ends_early = match (segment.duration, last_end(&blocks)) {
        (Some(duration), Some(end)) => duration * segment.scale > end as f64 * segment.scale + TOLERANCE_NS,
        // The file states a duration and has no frames.
        (Some(duration), None) => duration > 0.0,
        (None, _) => false,
    };
    Ok((cut || ends_early).then_some(Truncation::Missing { bytes, frames: None }))
}

/// Returns the time at which the last frame ends, in timestamp units.
///
/// A frame is assumed to last at most as long as the longest interval between two frames of its track.
fn last_end(blocks: &[Block]) -> Option<i64> {
    let times = |track| blocks.iter().filter(move |block| block.track == track).map(|block| block.time);
    let longest = |track| {
        times(track).zip(times(track).skip(1)).map(|(a, b)| b.saturating_sub(a).saturating_abs()).max()
    };
    let mut tracks: Vec<_> = blocks.iter().map(|block| block.track).collect();
    tracks.sort_unstable();
    tracks.dedup();
    tracks
        .into_iter()
        .filter_map(|track| Some(times(track).max()?.saturating_add(longest(track).unwrap_or(0))))
        .max()
}

/// The segment, which holds the media, and the position of its next element.
struct Segment {
    /// None if the length is unknown, as in live recordings.
    end: Option<u64>,
    length: u64,
    at: u64,
    tracks: Vec<Track>,
    /// Nanoseconds per timestamp unit.
    scale: f64,
    duration: Option<f64>,
}

#[derive(Debug, Default)]
struct Track {
    number: u64,
    uid: u64,
    kind: u64,
}

impl Track {
    fn is_video(&self) -> bool {
        self.kind == 1
    }
}

/// An EBML element.
#[derive(Debug, Clone, Copy)]
struct Element {
    id: u32,
    /// Offset of its content.
    start: u64,
    /// Offset of the end of its content. None if the length is unknown.
    end: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Block {
    track: u64,
    time: i64,
    end: u64,
}

impl Segment {
    fn open(file: &mut (impl Read + Seek), length: u64) -> io::Result<Option<Self>> {
        let header = element(file, 0)?;
        let Some(end) = header.and_then(|header| header.end) else { return Ok(None) };
        let Some(segment) = element(file, end)?.filter(|segment| segment.id == SEGMENT) else {
            return Ok(None);
        };
        let (end, at) = (segment.end, segment.start);
        Ok(Some(Self { end, length, at, tracks: Vec::new(), scale: 1e6, duration: None }))
    }

    /// Returns the next element. Stores the duration, the timestamp scale and the tracks if the element has
    /// these.
    fn next(&mut self, file: &mut (impl Read + Seek)) -> io::Result<Option<Element>> {
        if self.at >= self.end.unwrap_or(self.length).min(self.length) {
            return Ok(None);
        }
        let Some(found) = element(file, self.at)? else { return Ok(None) };
        self.at = match found.end {
            Some(end) => end,
            // A cluster of unknown length ends where the next top-level element starts.
            None if found.id == CLUSTER => open_cluster_end(file, found.start, self.length)?,
            None => self.length,
        };
        if matches!(found.id, INFO | TRACKS)
            && let Some(end) = found.end.filter(|end| *end <= self.length)
            && let Some(bytes) = read_block(file, found.start, end - found.start)?
        {
            for (id, content) in children(&bytes) {
                match id {
                    TIMESTAMP_SCALE => self.scale = unsigned(content).max(1) as f64,
                    DURATION => self.duration = float(content),
                    TRACK_ENTRY => self.tracks.push(track(content)),
                    _ => {}
                }
            }
        }
        Ok(Some(found))
    }
}

fn track(content: &[u8]) -> Track {
    let mut track = Track::default();
    for (id, content) in children(content) {
        match id {
            TRACK_NUMBER => track.number = unsigned(content),
            TRACK_UID => track.uid = unsigned(content),
            TRACK_TYPE => track.kind = unsigned(content),
            _ => {}
        }
    }
    track
}

/// Appends up to `max` blocks of a cluster to `blocks`. Stops at the first block whose header is not in the
/// file.
fn cluster_blocks(
    file: &mut (impl Read + Seek),
    cluster: &Element,
    length: u64,
    max: usize,
    blocks: &mut Vec<Block>,
) -> io::Result<()> {
    let (mut at, mut time) = (cluster.start, 0i64);
    let enough = blocks.len().saturating_add(max);
    while at < cluster.end.unwrap_or(length).min(length) && blocks.len() < enough {
        let Some(found) = element(file, at)? else { break };
        let Some(end) = found.end else { break };
        at = end;
        match found.id {
            TIMESTAMP => {
                let bytes = read_block(file, found.start, (end - found.start).min(8))?;
                time = bytes.map_or(0, |bytes| unsigned(&bytes)) as i64;
            }
            // Continue with the elements inside the group.
            BLOCK_GROUP => at = found.start,
            SIMPLE_BLOCK | BLOCK => {
                let mut head = [0; 10];
                let got = read_at(file, found.start, &mut head)?;
                let Some((track, width)) = size(&head[..got]) else { break };
                let Some(&[high, low]) = head[..got].get(width..width + 2) else { break };
                let time = time.saturating_add(i16::from_be_bytes([high, low]).into());
                blocks.push(Block { track, time, end });
            }
            CLUSTER => break,
            _ => {}
        }
    }
    Ok(())
}

fn open_cluster_end(file: &mut (impl Read + Seek), start: u64, length: u64) -> io::Result<u64> {
    let mut at = start;
    while at < length {
        let Some(found) = element(file, at)? else { return Ok(length) };
        // Ids of top-level elements have four bytes, ids of elements in a cluster have fewer.
        if found.id > 0x00ff_ffff {
            return Ok(at);
        }
        let Some(end) = found.end else { return Ok(length) };
        at = end;
    }
    Ok(length)
}

/// Returns the element at offset `at`, or None if there is no valid element header.
fn element(file: &mut (impl Read + Seek), at: u64) -> io::Result<Option<Element>> {
    let mut head = [0; 12];
    let got = read_at(file, at, &mut head)?;
    Ok(head_of(&head[..got]).map(|(id, size, width)| {
        let start = at.saturating_add(width as u64);
        Element { id, start, end: size.map(|size| start.saturating_add(size)) }
    }))
}

/// Returns the ids and contents of the elements in `bytes`.
fn children(bytes: &[u8]) -> Vec<(u32, &[u8])> {
    let (mut rest, mut found) = (bytes, Vec::new());
    while let Some((id, size, width)) = head_of(rest) {
        let size = size.and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX);
        let content = &rest[width..];
        let (content, after) = content.split_at(size.min(content.len()));
        found.push((id, content));
        rest = after;
    }
    found
}

/// Parses an element's id and size. Returns the size as None if it is unknown, and the bytes that both take.
fn head_of(bytes: &[u8]) -> Option<(u32, Option<u64>, usize)> {
    let width = bytes.first()?.leading_zeros() as usize + 1;
    let id = bytes.get(..width).filter(|_| width <= 4)?;
    let id = id.iter().fold(0u32, |id, byte| id << 8 | u32::from(*byte));
    let (size, size_width) = size(&bytes[width..])?;
    let is_open = size == (1 << (7 * size_width)) - 1;
    Some((id, (!is_open).then_some(size), width + size_width))
}

/// Parses an EBML variable-length integer. Returns its value and the bytes that it takes.
fn size(bytes: &[u8]) -> Option<(u64, usize)> {
    let width = bytes.first()?.leading_zeros() as usize + 1;
    let bytes = bytes.get(..width).filter(|_| width <= 8)?;
    let value = bytes.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    Some((value & ((1 << (7 * width)) - 1), width))
}

fn unsigned(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn float(bytes: &[u8]) -> Option<f64> {
    match bytes.len() {
        4 => Some(f32::from_be_bytes(bytes.try_into().ok()?).into()),
        8 => Some(f64::from_be_bytes(bytes.try_into().ok()?)),
        _ => None,
    }
}
