//! The SEI message "display orientation" of H.264 and H.265.
//!
//! Specified in Rec. ITU-T H.264, sections 7.3.2.3 and D.1.27, and in H.265, sections 7.3.5 and D.2.17. Crates that
//! parse these codecs, such as `h264-reader`, were not chosen: none reads this message for both codecs, and only 19
//! bits of it are needed.

use gstreamer as gst;

use crate::orientation::Orientation;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    H264,
    H265,
}

/// How NAL units are delimited in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Each unit follows the start code 0, 0, 1.
    StartCodes,
    /// Each unit follows its length, in this many bytes.
    Lengths(usize),
}

impl Framing {
    pub(crate) fn of(caps: &gst::StructureRef) -> Self {
        let format = caps.get::<&str>("stream-format").unwrap_or_default();
        if format == "byte-stream" || format.is_empty() {
            return Self::StartCodes;
        }
        // `lengthSizeMinusOne` of the decoder configuration record.
        let at = if caps.name() == "video/x-h265" { 21 } else { 4 };
        let record = caps.get::<gst::Buffer>("codec_data").ok();
        let byte = record.and_then(|record| Some(*record.map_readable().ok()?.get(at)?));
        Self::Lengths(usize::from(byte.unwrap_or(3) & 3) + 1)
    }
}

/// The payload type of the message in both codecs.
const DISPLAY_ORIENTATION: usize = 47;

/// Returns the orientation that the access unit in `bytes` states, if any.
pub(crate) fn orientation(codec: Codec, framing: Framing, bytes: &[u8]) -> Option<Orientation> {
    let mut rest = bytes;
    while let Some((unit, behind)) = next_unit(codec, framing, rest) {
        rest = behind;
        match codec.unit(*unit.first()?) {
            Unit::Sei { header } => {
                if let Some(orientation) = unit.get(header..).and_then(message) {
                    return Some(orientation);
                }
            }
            // SEI messages about a frame precede its first slice.
            Unit::Slice => return None,
            Unit::Other => {}
        }
    }
    None
}

enum Unit {
    /// An SEI unit, whose messages follow a header of this many bytes.
    Sei {
        header: usize,
    },
    Slice,
    Other,
}

impl Codec {
    /// Returns the type of the NAL unit that starts with `byte`.
    fn unit(self, byte: u8) -> Unit {
        match (self, byte & 0x1f, byte >> 1 & 0x3f) {
            (Self::H264, 6, _) => Unit::Sei { header: 1 },
            (Self::H265, _, 39) => Unit::Sei { header: 2 },
            (Self::H264, 1..=5, _) | (Self::H265, _, 0..=31) => Unit::Slice,
            _ => Unit::Other,
        }
    }
}

/// Returns the next NAL unit, and the bytes after it.
fn next_unit(codec: Codec, framing: Framing, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    match framing {
        Framing::Lengths(size) => {
            let (length, rest) = bytes.split_at_checked(size)?;
            let length = length.iter().fold(0usize, |length, byte| length << 8 | usize::from(*byte));
            (length > 0).then(|| rest.split_at_checked(length))?
        }
        Framing::StartCodes => {
            let start = find_start_code(bytes)? + 3;
            let unit = &bytes[start..];
            // Slices are long, so their end is not searched.
            let slice = matches!(codec.unit(*unit.first()?), Unit::Slice);
            let end = if slice { None } else { find_start_code(unit) };
            Some(unit.split_at(end.unwrap_or(unit.len()))).filter(|(unit, _)| !unit.is_empty())
        }
    }
}

fn find_start_code(bytes: &[u8]) -> Option<usize> {
    bytes.windows(3).position(|window| window == [0, 0, 1])
}

/// Returns the orientation that a message in an SEI NAL unit states, if any.
fn message(unit: &[u8]) -> Option<Orientation> {
    let payload = without_emulation_prevention(unit);
    let mut rest = payload.as_slice();
    while rest.len() > 2 {
        let (kind, behind) = number(rest)?;
        let (size, behind) = number(behind)?;
        let (payload, behind) = behind.split_at_checked(size)?;
        if kind == DISPLAY_ORIENTATION {
            let [a, b, c, ..] = *payload else { return None };
            let bits = u32::from_be_bytes([0, a, b, c]);
            let bit = |at: u32| bits >> (23 - at) & 1 == 1;
            // Canceled: the frame is displayed as stored.
            return if bit(0) {
                Some(Orientation::default())
            } else {
                Orientation::from_sei(bit(1), bit(2), (bits >> 5) as u16)
            };
        }
        rest = behind;
    }
    None
}

/// Reads a payload type or size of an SEI message: the sum of bytes of 255 and one smaller byte.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let full = bytes.iter().take_while(|byte| **byte == 255).count();
    let last = *bytes.get(full)?;
    Some((full * 255 + usize::from(last), &bytes[full + 1..]))
}

/// Removes the emulation prevention bytes from `unit`.
///
/// Reads at most [`MAX_SEI`] bytes, because longer SEI messages contain user data.
fn without_emulation_prevention(unit: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(unit.len().min(MAX_SEI));
    let mut zeros = 0;
    for byte in unit.iter().take(MAX_SEI) {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        bytes.push(*byte);
    }
    bytes
}

const MAX_SEI: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// A message with a horizontal flip and a rotation by 270 degrees counterclockwise, after another message.
    const SEI: [u8; 10] = [5, 2, 9, 9, 47, 3, 0b0101_1000, 0, 0b0001_0000, 0x80];

    #[test]
    fn the_sei_message_is_found_in_both_framings() {
        let wanted = Orientation::from_sei(true, false, 0xc000);
        let slice = [0x65, 1, 2, 3];
        let unit = [&[6][..], &SEI].concat();
        let lengths =
            [&[0, 0, 0, unit.len() as u8][..], &unit, &[0, 0, 0, slice.len() as u8], &slice].concat();
        assert_eq!(orientation(Codec::H264, Framing::Lengths(4), &lengths), wanted);
        let codes = [&[0, 0, 0, 1, 9, 0x10, 0, 0, 1][..], &unit, &[0, 0, 1], &slice].concat();
        assert_eq!(orientation(Codec::H264, Framing::StartCodes, &codes), wanted);
        let unit = [&[39 << 1, 1][..], &SEI].concat();
        let codes = [&[0, 0, 1][..], &unit, &[0, 0, 1, 19 << 1, 1, 7]].concat();
        assert_eq!(orientation(Codec::H265, Framing::StartCodes, &codes), wanted);
    }

    #[test]
    fn truncated_messages_do_not_panic() {
        for length in 0..SEI.len() {
            for first in [0, 1, 6, 39 << 1, 255] {
                let bytes = [&[0, 0, 1, first][..], &SEI[..length]].concat();
                for codec in [Codec::H264, Codec::H265] {
                    for framing in [Framing::StartCodes, Framing::Lengths(1), Framing::Lengths(4)] {
                        let _ = orientation(codec, framing, &bytes);
                    }
                }
            }
        }
    }

    #[test]
    fn the_search_ends_at_a_canceled_message_or_a_slice() {
        let canceled = [0, 0, 1, 6, 47, 3, 0x80, 0, 0x10, 0x80];
        assert_eq!(orientation(Codec::H264, Framing::StartCodes, &canceled), Some(Orientation::default()));
        let behind = [&[0, 0, 1, 0x65, 1, 2, 0, 0, 1, 6][..], &SEI].concat();
        assert_eq!(orientation(Codec::H264, Framing::StartCodes, &behind), None);
    }
}
