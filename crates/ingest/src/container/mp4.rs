//! ISO base media files: MP4, MOV, 3GP (ISO/IEC 14496-12).

use std::{
    collections::HashMap,
    io::{self, Read, Seek},
};

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

/// The contents of the `moov` box.
#[derive(Debug, Default)]
struct Movie {
    duration: Option<Field>,
    tracks: Vec<Track>,
    is_fragmented: bool,
    /// Default sample sizes by track id, for fragments that do not state a size.
    default_sizes: HashMap<u32, u32>,
}

#[derive(Debug, Default)]
struct Track {
    id: u32,
    is_video: bool,
    is_sound: bool,
    has_edits: bool,
    duration: Option<Field>,
    samples: u64,
    /// The sum of the samples' durations, in the unit of `duration`.
    samples_duration: u64,
    sizes: Sizes,
    /// Offsets of the chunks in the file.
    chunks: Vec<u64>,
    /// Pairs of a chunk number, counted from 1, and the number of samples per chunk from that chunk on.
    chunk_lengths: Vec<(u32, u32)>,
}

#[derive(Debug)]
enum Sizes {
    All(u32),
    Each(Vec<u32>),
}

impl Default for Sizes {
    fn default() -> Self {
        Self::All(0)
    }
}

/// Counts the samples that lie beyond the end of the file.
struct Lost {
    length: u64,
    frames: u64,
    /// Where the last such sample would end.
    end: u64,
}

impl Lost {
    fn sample(&mut self, offset: u64, size: u32) {
        let end = offset.saturating_add(size.into());
        if end > self.length {
            self.frames += 1;
            self.end = self.end.max(end);
        }
    }
}

impl Movie {
    fn of(moov: &[u8]) -> Self {
        let mut movie = Self::default();
        let Some((_, inside)) = boxes(moov, 0..moov.len()).into_iter().next() else { return movie };
        for (name, range) in boxes(moov, inside) {
            match &name {
                b"mvhd" => movie.duration = duration(moov, range.start),
                b"trak" => movie.tracks.push(Track::of(moov, range)),
                b"mvex" => {
                    movie.is_fragmented = true;
                    for (_, trex) in boxes(moov, range).into_iter().filter(|(name, _)| name == b"trex") {
                        let of_track = u32_at(moov, trex.start + 4).zip(u32_at(moov, trex.start + 16));
                        movie.default_sizes.extend(of_track);
                    }
                }
                _ => {}
            }
        }
        movie
    }

    /// Adds to `lost` the samples of the fragment at offset `at` that lie beyond the end of the file.
    fn fragment_lost(&self, at: u64, moof: &[u8], lost: &mut Lost) {
        let Some((_, inside)) = boxes(moof, 0..moof.len()).into_iter().next() else { return };
        for (_, traf) in boxes(moof, inside).into_iter().filter(|(name, _)| name == b"traf") {
            let parts = boxes(moof, traf);
            let Some(head) = parts.iter().find_map(|(name, range)| {
                (name == b"tfhd").then(|| self.fragment_head(at, moof, range.start)).flatten()
            }) else {
                continue;
            };
            if !self.tracks.iter().any(|track| track.id == head.track && track.is_video) {
                continue;
            }
            let mut next = head.base;
            for (_, run) in parts.iter().filter(|(name, _)| name == b"trun") {
                next = run_lost(moof, run.start, &head, next, lost).unwrap_or(next);
            }
        }
    }

    fn fragment_head(&self, at: u64, moof: &[u8], start: usize) -> Option<FragmentHead> {
        let (flags, track) = (u32_at(moof, start)?, u32_at(moof, start + 4)?);
        let mut place = start + 8;
        let base = if flags & 1 == 0 {
            at
        } else {
            place += 8;
            u64_at(moof, place - 8)?
        };
        place += 4 * (flags >> 1 & 1) as usize + 4 * (flags >> 3 & 1) as usize;
        let default = self.default_sizes.get(&track).copied().unwrap_or(0);
        let size = if flags >> 4 & 1 == 1 { u32_at(moof, place)? } else { default };
        Some(FragmentHead { track, base, size })
    }
}

/// The values that apply to all of a track's samples in a fragment.
struct FragmentHead {
    track: u32,
    base: u64,
    size: u32,
}

/// Adds to `lost` the samples of the run at `start` that lie beyond the end of the file.
///
/// Returns the offset at which the run's last sample ends.
fn run_lost(moof: &[u8], start: usize, head: &FragmentHead, next: u64, lost: &mut Lost) -> Option<u64> {
    let (flags, count) = (u32_at(moof, start)?, u32_at(moof, start + 4)?);
    let has = |bit: u32| (flags >> bit & 1) as usize;
    let mut offset = match has(0) {
        1 => head.base.checked_add_signed(u32_at(moof, start + 8)?.cast_signed().into())?,
        _ => next,
    };
    let width = 4 * (has(8) + has(9) + has(10) + has(11));
    let mut place = start + 8 + 4 * (has(0) + has(2));
    for _ in 0..count {
        let size = if has(9) == 1 { u32_at(moof, place + 4 * has(8))? } else { head.size };
        lost.sample(offset, size);
        offset = offset.saturating_add(size.into());
        // Without a sample table the loop is bounded only by the count, which is arbitrary in a damaged file.
        if width == 0 && offset > lost.length.saturating_add(1 << 30) {
            break;
        }
        place += width;
    }
    Some(offset)
}

impl Track {
    fn of(moov: &[u8], range: std::ops::Range<usize>) -> Self {
        let mut track = Self::default();
        for (name, part) in boxes(moov, range) {
            match &name {
                b"tkhd" => {
                    let is_long = moov.get(part.start) == Some(&1);
                    track.id = u32_at(moov, part.start + if is_long { 20 } else { 12 }).unwrap_or(0);
                }
                b"edts" => {
                    let lists = boxes(moov, part).into_iter().filter(|(name, _)| name == b"elst");
                    track.has_edits =
                        lists.map(|(_, list)| u32_at(moov, list.start + 4)).any(|count| count > Some(0));
                }
                b"mdia" => track.media(moov, part),
                _ => {}
            }
        }
        track
    }

    fn media(&mut self, moov: &[u8], range: std::ops::Range<usize>) {
        for (name, part) in boxes(moov, range) {
            match &name {
                b"mdhd" => self.duration = duration(moov, part.start),
                b"hdlr" => {
                    let handler = moov.get(part.start + 8..part.start + 12);
                    (self.is_video, self.is_sound) = (handler == Some(b"vide"), handler == Some(b"soun"));
                }
                b"minf" => {
                    for (_, table) in boxes(moov, part).into_iter().filter(|(name, _)| name == b"stbl") {
                        self.tables(moov, table);
                    }
                }
                _ => {}
            }
        }
    }

    fn tables(&mut self, moov: &[u8], range: std::ops::Range<usize>) {
        for (name, part) in boxes(moov, range) {
            let Some(table) = moov.get(part) else { continue };
            let entries = |at: usize, width: usize| {
                let count = u32_at(table, at).unwrap_or(0) as usize;
                table.get(at + 4..).unwrap_or(&[]).chunks_exact(width).take(count)
            };
            match &name {
                b"stts" => {
                    self.samples_duration = entries(4, 8).fold(0u64, |sum, entry| {
                        let length = u64::from(number(&entry[..4])) * u64::from(number(&entry[4..]));
                        sum.saturating_add(length)
                    });
                }
                b"stsc" => {
                    let lengths = entries(4, 12).map(|entry| (number(&entry[..4]), number(&entry[4..8])));
                    self.chunk_lengths = lengths.collect();
                }
                b"stco" => self.chunks = entries(4, 4).map(|entry| number(entry).into()).collect(),
                b"co64" => self.chunks = entries(4, 8).filter_map(|entry| u64_at(entry, 0)).collect(),
                b"stsz" => {
                    self.samples = u32_at(table, 8).unwrap_or(0).into();
                    self.sizes = match u32_at(table, 4) {
                        Some(size) if size > 0 => Sizes::All(size),
                        _ => Sizes::Each(entries(8, 4).map(number).collect()),
                    };
                }
                _ => {}
            }
        }
    }

    /// Adds to `lost` the samples that lie beyond the end of the file.
    fn lost(&self, lost: &mut Lost) {
        // Each sample takes at least one byte. This bounds the loop when the count is damaged.
        let samples = self.samples.min(lost.length.saturating_mul(2));
        let mut sample = 0u64;
        let mut lengths = self.chunk_lengths.iter().peekable();
        let mut per_chunk = 0;
        for (number, chunk) in (1u32..).zip(&self.chunks) {
            while let Some((_, length)) = lengths.next_if(|(first, _)| *first <= number) {
                per_chunk = *length;
            }
            let mut offset = *chunk;
            for _ in 0..per_chunk {
                if sample >= samples {
                    return;
                }
                let size = match &self.sizes {
                    Sizes::All(size) => *size,
                    Sizes::Each(sizes) => {
                        let Some(size) = usize::try_from(sample).ok().and_then(|at| sizes.get(at)) else {
                            return;
                        };
                        *size
                    }
                };
                lost.sample(offset, size);
                offset = offset.saturating_add(size.into());
                sample += 1;
            }
        }
    }
}

/// Reads the duration from the `mvhd` or `mdhd` box whose content starts at `start`.
fn duration(data: &[u8], start: usize) -> Option<Field> {
    let is_long = *data.get(start)? == 1;
    Field::of(data, start + if is_long { 24 } else { 16 }, is_long)
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
