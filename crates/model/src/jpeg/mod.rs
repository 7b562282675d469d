//! Checks whether a JPEG file contains its whole image.
//!
//! Decoders return an image for almost any file: missing parts become gray, and the data after a damaged byte
//! is decoded as if nothing were wrong. This module walks through the file like a decoder, without computing
//! pixels, and finds where the file is truncated or has invalid Huffman codes. The format is ITU-T T.81,
//! <https://www.w3.org/Graphics/JPEG/>. The check tolerates what libjpeg accepts without a warning, and
//! padding.
//!
//! Alternatives: the strict mode of `zune-jpeg` does not detect that a scan ends early. libjpeg (`mozjpeg-sys`)
//! counts warnings, which has the same effect, but it is C code that would parse untrusted files.

mod bits;
mod huffman;
mod scan;

use image::metadata::Orientation;
use thiserror::Error;

use self::{
    huffman::Table,
    scan::{Component, Frame, Scan},
};

/// The damage of a JPEG file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum JpegDamage {
    #[error("it is cut off: its end is missing")]
    CutOff,
    #[error("it holds no image data")]
    Empty,
    #[error(
        "its image data ends at byte {at} with the marker {marker:#06x}, and a part of the image is missing"
    )]
    EndsEarly { at: usize, marker: u16 },
    #[error("its image data is damaged before byte {at}: it holds an undefined Huffman code")]
    Code { at: usize },
    #[error("its image data is damaged: {bytes} bytes before byte {at} remain after the image is complete")]
    LeftOver { at: usize, bytes: usize },
    #[error("it is malformed at byte {at}")]
    Malformed { at: usize },
}

/// Maximum number of extra bytes after the image data. Some webcams append such bytes.
const MAX_LEFT_OVER: usize = 4;

/// Number of pixels above which the decoder rejects an image anyway: the default limit of the crate `image`,
/// 512 MiB, at three bytes per pixel.
const MAX_PIXELS: u64 = (512 << 20) / 3;

/// The metadata that precedes the image data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) orientation: Orientation,
}

/// Checks that the whole image is present. Accepts kinds of JPEG that the decoder does not support, without a
/// check.
///
/// # Errors
/// The kind and the position of the damage.
pub(crate) fn check(file: &[u8]) -> Result<(), JpegDamage> {
    let mut walk = Walk::new(file);
    let mut tables = Tables::default();
    let mut frame: Option<Frame> = None;
    let mut scans = 0;
    loop {
        let (marker, at) = walk.marker()?;
        match marker {
            0xd9 => return if scans > 0 { Ok(()) } else { Err(JpegDamage::Empty) },
            0xd8 => return Err(JpegDamage::Malformed { at }),
            // Stray TEM and restart markers.
            0x01 | 0xd0..=0xd7 => {}
            0xc4 => tables.define(walk.segment()?, at)?,
            0xdd => {
                let Some(&[a, b]) = walk.segment()?.first_chunk() else {
                    return Err(JpegDamage::Malformed { at });
                };
                tables.restart_interval = u16::from_be_bytes([a, b]).into();
            }
            0xc0..=0xc2 => {
                let found =
                    Frame::parse(walk.segment()?, marker == 0xc2).ok_or(JpegDamage::Malformed { at })?;
                if frame.is_some() {
                    return Err(JpegDamage::Malformed { at });
                }
                // Not checked: images whose height follows the image data, and images that the decoder rejects
                // for their size.
                if found.height == 0 || u64::from(found.width) * u64::from(found.height) > MAX_PIXELS {
                    return Ok(());
                }
                frame = Some(found);
            }
            // Lossless, hierarchical and arithmetic coding are not checked.
            0xc3 | 0xc5..=0xcf => return Ok(()),
            0xda => {
                let header = walk.segment()?;
                let frame = frame.as_mut().ok_or(JpegDamage::Malformed { at })?;
                let scan = Scan::parse(header, frame).ok_or(JpegDamage::Malformed { at })?;
                match scan.walk(frame, &tables, file, walk.at)? {
                    Some(end) => walk.at = end,
                    // The scan uses a default table of the standard, which frames of MJPEG omit.
                    None => return Ok(()),
                }
                scans += 1;
            }
            _ => drop(walk.segment()?),
        }
    }
}

/// Parses the header from the start of a file. Returns `None` if more of the file is needed.
///
/// # Errors
/// The file has no frame header before its image data, or is malformed.
pub(crate) fn header(head: &[u8]) -> Result<Option<Header>, JpegDamage> {
    let mut walk = Walk::new(head);
    let mut orientation = Orientation::NoTransforms;
    loop {
        let Ok((marker, at)) = walk.marker() else { return Ok(None) };
        match marker {
            0x01 | 0xd0..=0xd7 => continue,
            0xd8..=0xda => return Err(JpegDamage::Malformed { at }),
            _ => {}
        }
        let Ok(segment) = walk.segment() else { return Ok(None) };
        match marker {
            0xe1 => {
                let found = segment.strip_prefix(b"Exif\0\0").and_then(Orientation::from_exif_chunk);
                orientation = found.unwrap_or(orientation);
            }
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                let Some(&[_, h1, h2, w1, w2]) = segment.first_chunk() else {
                    return Err(JpegDamage::Malformed { at });
                };
                let [width, height] = [[w1, w2], [h1, h2]].map(|side| u16::from_be_bytes(side).into());
                return Ok(Some(Header { width, height, orientation }));
            }
            _ => {}
        }
    }
}

/// Walks through a file from marker to marker.
struct Walk<'f> {
    file: &'f [u8],
    at: usize,
}

impl<'f> Walk<'f> {
    /// Starts after the first marker, which identifies the file as a JPEG.
    fn new(file: &'f [u8]) -> Self {
        Self { file, at: 2 }
    }

    /// Returns the code of the next marker and its position in the file.
    fn marker(&mut self) -> Result<(u8, usize), JpegDamage> {
        let (code, at) = next_marker(self.file, self.at).ok_or(JpegDamage::CutOff)?;
        self.at = at + 2;
        Ok((code, at))
    }

    /// Returns the content of the segment at the current position.
    fn segment(&mut self) -> Result<&'f [u8], JpegDamage> {
        let rest = self.file.get(self.at..).ok_or(JpegDamage::CutOff)?;
        let length = usize::from(u16::from_be_bytes(*rest.first_chunk().ok_or(JpegDamage::CutOff)?));
        if length < 2 {
            return Err(JpegDamage::Malformed { at: self.at });
        }
        let content = rest.get(2..length).ok_or(JpegDamage::CutOff)?;
        self.at += length;
        Ok(content)
    }
}

/// Returns the code of the next marker at or after `from`, and the position of its last 0xff.
fn next_marker(file: &[u8], from: usize) -> Option<(u8, usize)> {
    let rest = file.get(from..)?;
    let found = rest.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff))?;
    Some((rest[found + 1], from + found))
}

/// The Huffman tables and the restart interval that are defined so far.
#[derive(Default)]
struct Tables {
    dc: [Option<Box<Table>>; 4],
    ac: [Option<Box<Table>>; 4],
    restart_interval: usize,
}

impl Tables {
    fn define(&mut self, mut segment: &[u8], at: usize) -> Result<(), JpegDamage> {
        let malformed = JpegDamage::Malformed { at };
        while let Some((&kind, rest)) = segment.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or(malformed)?;
            let all = counts.iter().map(|count| usize::from(*count)).sum();
            let (symbols, rest) = rest.split_at_checked(all).ok_or(malformed)?;
            let table = Table::new(counts, symbols).ok_or(malformed)?;
            let tables = match kind >> 4 {
                0 => &mut self.dc,
                1 => &mut self.ac,
                _ => return Err(malformed),
            };
            *tables.get_mut(usize::from(kind & 15)).ok_or(malformed)? = Some(Box::new(table));
            segment = rest;
        }
        Ok(())
    }
}

impl Frame {
    fn parse(segment: &[u8], progressive: bool) -> Option<Self> {
        let (&[_, h1, h2, w1, w2, count], rest) = segment.split_first_chunk()?;
        let [width, height] = [[w1, w2], [h1, h2]].map(|side| u16::from_be_bytes(side).into());
        if width == 0 || !(1..=4).contains(&count) {
            return None;
        }
        let parts = rest.chunks_exact(3).take(count.into());
        let components: Option<Vec<Component>> = parts
            .map(|part| {
                let (h, v) = (part[1] >> 4, part[1] & 15);
                let sound = (1..=4).contains(&h) && (1..=4).contains(&v);
                sound.then(|| Component { id: part[0], h: h.into(), v: v.into(), nonzero: Vec::new() })
            })
            .collect();
        let components = components.filter(|components| components.len() == usize::from(count))?;
        Some(Self { width, height, progressive, components })
    }
}
