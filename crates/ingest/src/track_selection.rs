//! Selects the video stream of a source from which frames are taken.

use gst::prelude::*;
use gstreamer as gst;

use crate::{container::Container, decoder_input::is_video_decoder};

/// The selected stream.
pub(crate) struct Selected {
    pub(crate) pad: gst::Pad,
    /// None for raw video.
    pub(crate) decoder: Option<gst::Element>,
}

/// The properties by which streams are compared, in descending order of importance. Of equal streams the first is
/// selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Merits {
    /// Whether the stream is not the cover image of an audio recording.
    has_several_frames: bool,
    /// Whether the codec is not JPEG or PNG, in which thumbnails and covers are stored.
    is_video_codec: bool,
    /// Whether the container does not mark the stream as one that is played only on request.
    is_enabled: bool,
    /// Whether the container marks the stream as the default.
    is_default: bool,
    pixels: i64,
}

/// Selects the video from the decoded pads of `decodebin`.
///
/// Returns None if there is no video, or only the cover image of an audio recording.
pub(crate) fn select(decodebin: &gst::Element, container: Option<&Container>) -> Option<Selected> {
    let candidates = decodebin.src_pads().into_iter().filter_map(|pad| {
        let decoder = decoder(&pad);
        let merits = merits(&pad, decoder.as_ref(), container)?;
        Some((merits, Selected { pad, decoder }))
    });
    // `max_by_key` would return the last of equal streams.
    let (merits, selected) = candidates.reduce(|best, next| if next.0 > best.0 { next } else { best })?;
    let is_cover = !merits.has_several_frames && !merits.is_video_codec;
    (!(is_cover && container.is_some_and(|container| container.has_other_tracks))).then_some(selected)
}

fn merits(pad: &gst::Pad, decoder: Option<&gst::Element>, container: Option<&Container>) -> Option<Merits> {
    let caps = pad.current_caps()?;
    let video = caps.structure(0).filter(|video| video.name().starts_with("video/"))?;
    let side = |name| i64::from(video.get::<i32>(name).unwrap_or(0));
    let input = decoder.and_then(|decoder| decoder.static_pad("sink")?.current_caps());
    let codec = input.as_ref().and_then(|input| input.structure(0)).map(|codec| codec.name());
    let start = pad.sticky_event::<gst::event::StreamStart>(0);
    let flags = start.as_ref().map_or(gst::StreamFlags::empty(), |start| start.stream_flags());
    let track = start
        .as_ref()
        .and_then(|start| stream_number(start.stream_id()))
        .and_then(|number| container?.video.iter().find(|track| track.stream == number));
    Some(Merits {
        has_several_frames: track.is_none_or(|track| track.frames != 1),
        is_video_codec: codec.is_none_or(|codec| !codec.starts_with("image/")),
        is_enabled: !flags.contains(gst::StreamFlags::UNSELECT),
        is_default: flags.contains(gst::StreamFlags::SELECT),
        pixels: side("width") * side("height"),
    })
}

/// Returns the track number at the end of a demuxer's stream id.
pub(crate) fn stream_number(stream_id: &str) -> Option<u64> {
    stream_id.rsplit(['/', ':']).next()?.parse().ok()
}

/// Returns the decoder that feeds a source pad of decodebin, or None for raw video.
fn decoder(pad: &gst::Pad) -> Option<gst::Element> {
    let target = pad.downcast_ref::<gst::GhostPad>()?.target()?;
    target.parent_element().filter(is_video_decoder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_ids_end_with_the_number_of_the_track() {
        assert_eq!(stream_number("c0ffee/002"), Some(2));
        assert_eq!(stream_number("c0ffee/001:7425349110021"), Some(7_425_349_110_021));
        assert_eq!(stream_number("c0ffee"), None);
    }

    #[test]
    fn video_is_preferred_over_covers_and_the_default_track_over_a_larger_one() {
        let video = Merits {
            has_several_frames: true,
            is_video_codec: true,
            is_enabled: true,
            is_default: false,
            pixels: 640 * 360,
        };
        let cover = Merits { is_video_codec: false, is_default: true, pixels: 4000 * 3000, ..video };
        let still = Merits { has_several_frames: false, ..cover };
        let marked = Merits { is_default: true, pixels: 320 * 240, ..video };
        assert!(still < cover && cover < video && video < marked);
    }
}
