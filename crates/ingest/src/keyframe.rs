//! Withholds frames from a decoder until the first key frame.
//!
//! A connection usually starts between two key frames. The first frames then refer to frames that never arrived.
//! Decoders output them nevertheless, mostly as gray images with smeared motion, and only some decoders mark them as
//! corrupt.

use std::sync::{Arc, Weak};

use gst::prelude::*;
use gstreamer as gst;
use lookout_schema::DropCause;
use lookout_stage::CameraLedger;

use crate::{appsink::AppsinkCounts, stamp::Stamper};

/// Where withheld frames are counted.
#[derive(Debug, Clone)]
pub(crate) struct Withheld {
    pub(crate) ledger: Arc<CameraLedger>,
    pub(crate) stamper: Arc<Stamper>,
    pub(crate) counts: Weak<AppsinkCounts>,
}

/// Withholds frames from the decoders of `pipeline` until the first frame from which each can start.
pub(crate) fn watch(pipeline: &gst::Pipeline, withheld: Withheld) {
    pipeline.connect_deep_element_added(move |_, _, element| {
        let Some(factory) = element.factory() else { return };
        let video_decoder = gst::ElementFactoryType::DECODER | gst::ElementFactoryType::MEDIA_VIDEO;
        if factory.has_type(video_decoder)
            && let Some(pad) = element.static_pad("sink")
        {
            guard(&pad, withheld.clone());
        }
    });
}

fn guard(pad: &gst::Pad, withheld: Withheld) {
    let gate = std::sync::Mutex::new(Gate::default());
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(kinds, move |_, info| {
        let Ok(mut gate) = gate.lock() else { return gst::PadProbeReturn::Remove };
        if let Some(gst::EventView::Caps(caps)) = info.event().map(|event| event.view()) {
            gate.format = Format::of(caps.caps());
        }
        let Some(buffer) = info.buffer_mut() else { return gst::PadProbeReturn::Ok };
        let is_delta = buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let admitted = match buffer.map_readable() {
            Ok(data) => gate.admit(&data, is_delta),
            Err(_) => Admitted::No { frame: false },
        };
        let Some(counts) = withheld.counts.upgrade() else { return gst::PadProbeReturn::Remove };
        match admitted {
            Admitted::Always => gst::PadProbeReturn::Remove,
            Admitted::First { prefix, recovery } => {
                counts.recover(recovery);
                if !prefix.is_empty() {
                    *buffer = joined(prefix, buffer);
                }
                gst::PadProbeReturn::Remove
            }
            Admitted::No { frame } => {
                if frame {
                    let (session, seq) = withheld.stamper.undecodable();
                    counts.note_undecodable();
                    withheld.ledger.receive_and_drop(session, seq, DropCause::NoKeyFrame);
                }
                // Not `Drop`: with it GStreamer and the Rust bindings would both release the buffer.
                gst::PadProbeReturn::Handled
            }
        }
    });
}

/// Returns `buffer` with `prefix` before it.
fn joined(prefix: Vec<u8>, buffer: &gst::BufferRef) -> gst::Buffer {
    let mut whole = gst::Buffer::from_mut_slice(prefix);
    if let Some(start) = whole.get_mut() {
        let kept =
            gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS | gst::BufferCopyFlags::META;
        let _ = buffer.copy_into(start, kept, ..);
    }
    whole.append(buffer.copy());
    whole
}

/// Withholds access units until the first one from which a decoder can start.
#[derive(Debug, Default)]
struct Gate {
    format: Format,
    /// Parameter sets in withheld access units, without duplicates, in the layout of the stream. Some cameras send
    /// them only once.
    parameter_sets: Vec<Vec<u8>>,
}

/// How an access unit is handled.
#[derive(Debug, PartialEq, Eq)]
enum Admitted {
    /// This codec needs no gate. All access units pass.
    Always,
    /// The decoder starts with this access unit, preceded by `prefix`. The first complete image follows `recovery`
    /// frames later.
    First { prefix: Vec<u8>, recovery: u64 },
    /// The access unit is withheld. `frame` is whether it contains a frame.
    No { frame: bool },
}

/// The highest number of parameter sets that are kept. No valid stream has more.
const MAX_PARAMETER_SETS: usize = 64;

impl Gate {
    fn admit(&mut self, data: &[u8], is_delta: bool) -> Admitted {
        let Format { codec, layout } = self.format;
        match codec {
            Codec::Other => return Admitted::Always,
            Codec::Mpeg4 if is_delta => return Admitted::No { frame: true },
            Codec::Mpeg4 => return Admitted::First { prefix: Vec::new(), recovery: 0 },
            Codec::H264 | Codec::H265 => {}
        }
        let units: Vec<_> = nal_units(data, layout).collect();
        let has_picture = units.iter().any(|unit| codec.is_picture(unit));
        let recovery = units.iter().find_map(|unit| codec.recovery_point(unit));
        let is_key = !is_delta || recovery.is_some() || units.iter().any(|unit| codec.is_key_picture(unit));
        if has_picture && is_key {
            let prefix = self.parameter_sets.drain(..).flatten().collect();
            return Admitted::First { prefix, recovery: recovery.unwrap_or(0) };
        }
        for unit in units.iter().filter(|unit| codec.is_parameter_set(unit)) {
            let unit = layout.written(unit);
            if !self.parameter_sets.contains(&unit) {
                if self.parameter_sets.len() == MAX_PARAMETER_SETS {
                    self.parameter_sets.remove(0);
                }
                self.parameter_sets.push(unit);
            }
        }
        Admitted::No { frame: has_picture }
    }
}

/// The codec and the layout of a stream's access units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Format {
    codec: Codec,
    layout: Layout,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Codec {
    H264,
    H265,
    Mpeg4,
    /// Every frame can be decoded alone, or the decoder itself rejects frames that it cannot decode.
    #[default]
    Other,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Layout {
    /// NAL units are separated by start codes (H.264, annex B).
    #[default]
    StartCodes,
    /// Each NAL unit is preceded by its length, in this many bytes (ISO/IEC 14496-15).
    Lengths(usize),
}

impl Format {
    fn of(caps: &gst::CapsRef) -> Self {
        let Some(caps) = caps.structure(0) else { return Self::default() };
        let (codec, length_at) = match caps.name().as_str() {
            "video/x-h264" => (Codec::H264, 4),
            "video/x-h265" => (Codec::H265, 21),
            "video/mpeg" if caps.get::<i32>("mpegversion").is_ok_and(|version| version == 4) => {
                (Codec::Mpeg4, 0)
            }
            _ => (Codec::Other, 0),
        };
        let layout = match caps.get::<&str>("stream-format") {
            Ok("avc" | "avc3" | "hvc1" | "hev1") => {
                let data = caps.get::<gst::Buffer>("codec_data").ok();
                let data = data.as_ref().and_then(|data| data.map_readable().ok());
                let length = data.and_then(|data| data.get(length_at).map(|byte| usize::from(byte & 3) + 1));
                Layout::Lengths(length.unwrap_or(4))
            }
            _ => Layout::StartCodes,
        };
        Self { codec, layout }
    }
}

/// NAL unit types of H.264 (ITU-T H.264, table 7-1) and H.265 (ITU-T H.265, table 7-1).
impl Codec {
    fn unit_type(self, unit: &[u8]) -> Option<u8> {
        let first = *unit.first()?;
        Some(if self == Self::H264 { first & 31 } else { first >> 1 & 63 })
    }

    fn is_picture(self, unit: &[u8]) -> bool {
        let range = if self == Self::H264 { 1..=5 } else { 0..=31 };
        self.unit_type(unit).is_some_and(|kind| range.contains(&kind))
    }

    /// Returns whether the unit belongs to an IDR picture, or in H.265 to a CRA or BLA picture.
    fn is_key_picture(self, unit: &[u8]) -> bool {
        let range = if self == Self::H264 { 5..=5 } else { 16..=21 };
        self.unit_type(unit).is_some_and(|kind| range.contains(&kind))
    }

    fn is_parameter_set(self, unit: &[u8]) -> bool {
        let range = if self == Self::H264 { 7..=8 } else { 32..=34 };
        self.unit_type(unit).is_some_and(|kind| range.contains(&kind))
    }

    /// Returns the recovery point of an SEI unit: how many frames later the image is complete. None for other units.
    ///
    /// Streams with intra refresh have recovery points instead of key frames.
    fn recovery_point(self, unit: &[u8]) -> Option<u64> {
        const RECOVERY_POINT: usize = 6;
        let (sei, header) = if self == Self::H264 { (6, 1) } else { (39, 2) };
        if self.unit_type(unit)? != sei {
            return None;
        }
        let payload = without_emulation_prevention(unit.get(header..)?);
        let mut rest = payload.as_slice();
        // More than the trailing bits of the unit is left.
        while rest.len() > 2 {
            let kind = sei_number(&mut rest)?;
            let size = sei_number(&mut rest)?;
            let message = rest.get(..size)?;
            rest = &rest[size..];
            if kind == RECOVERY_POINT {
                let count = exp_golomb(message)?;
                // Signed in H.265 (recovery_poc_cnt): odd codes are positive, even ones are zero or negative.
                let signed = if count % 2 == 1 { count.div_ceil(2) } else { 0 };
                return Some(if self == Self::H264 { count } else { signed });
            }
        }
        None
    }
}

impl Layout {
    /// Returns `unit` in the layout of the stream, with its start code or length.
    fn written(self, unit: &[u8]) -> Vec<u8> {
        let length = unit.len().to_be_bytes();
        match self {
            Self::StartCodes => [&[0, 0, 0, 1], unit].concat(),
            Self::Lengths(size) => [&length[length.len() - size..], unit].concat(),
        }
    }
}

/// Returns the NAL units in `data`.
fn nal_units(data: &[u8], layout: Layout) -> Box<dyn Iterator<Item = &[u8]> + '_> {
    let mut rest = data;
    match layout {
        Layout::StartCodes => {
            let starts = data.windows(3).enumerate().filter(|(_, bytes)| *bytes == [0, 0, 1]);
            let mut starts = starts.map(|(at, _)| at).peekable();
            Box::new(std::iter::from_fn(move || {
                let from = starts.next()? + 3;
                let to = starts.peek().copied().unwrap_or(data.len());
                let unit = data.get(from..to).unwrap_or_default();
                let end = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                Some(&unit[..end])
            }))
        }
        Layout::Lengths(size) => Box::new(std::iter::from_fn(move || {
            let length = rest.get(..size)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            let unit = rest.get(size..size.saturating_add(length))?;
            rest = &rest[size + length..];
            Some(unit)
        })),
    }
}

/// Removes the emulation prevention bytes, which keep start codes out of a unit (ITU-T H.264, section 7.4.1).
fn without_emulation_prevention(bytes: &[u8]) -> Vec<u8> {
    let mut zeros = 0;
    let is_kept = |byte: &u8| {
        let is_kept = *byte != 3 || zeros < 2;
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        is_kept
    };
    bytes.iter().copied().filter(is_kept).collect()
}

/// Reads a payload type or size of an SEI message: the sum of bytes of 255 and one smaller byte.
fn sei_number(rest: &mut &[u8]) -> Option<usize> {
    let mut number = 0usize;
    loop {
        let (byte, tail) = rest.split_first()?;
        *rest = tail;
        number += usize::from(*byte);
        if *byte != u8::MAX {
            return Some(number);
        }
    }
}

/// Returns the unsigned Exp-Golomb code at the start of `bytes` (ITU-T H.264, section 9.1).
fn exp_golomb(bytes: &[u8]) -> Option<u64> {
    let bit = |at: usize| bytes.get(at / 8).map(|byte| byte >> (7 - at % 8) & 1);
    let zeros = (0..32).take_while(|at| bit(*at) == Some(0)).count();
    let code = (zeros..=2 * zeros).try_fold(0u64, |code, at| Some(code << 1 | u64::from(bit(at)?)))?;
    code.checked_sub(1)
}

#[cfg(test)]
mod tests;
