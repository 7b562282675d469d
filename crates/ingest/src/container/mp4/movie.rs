//! The index of an ISO base media file (`moov` and `moof`): its tracks and where their samples are.

use std::collections::HashMap;

use super::{Field, boxes, number, u32_at, u64_at};

/// The contents of the `moov` box.
#[derive(Debug, Default)]
pub(super) struct Movie {
    pub(super) duration: Option<Field>,
    pub(super) tracks: Vec<Track>,
    pub(super) is_fragmented: bool,
    /// Default sample sizes by track id, for fragments that do not state a size.
    default_sizes: HashMap<u32, u32>,
}

#[derive(Debug, Default)]
pub(super) struct Track {
    pub(super) id: u32,
    pub(super) is_video: bool,
    pub(super) is_sound: bool,
    pub(super) has_edits: bool,
    pub(super) duration: Option<Field>,
    pub(super) samples: u64,
    /// The sum of the samples' durations, in the unit of `duration`.
    pub(super) samples_duration: u64,
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
pub(super) struct Lost {
    pub(super) length: u64,
    pub(super) frames: u64,
    /// Where the last such sample would end.
    pub(super) end: u64,
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
    pub(super) fn of(moov: &[u8]) -> Self {
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
    pub(super) fn fragment_lost(&self, at: u64, moof: &[u8], lost: &mut Lost) {
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
    pub(super) fn lost(&self, lost: &mut Lost) {
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
