//! Which of a source's video streams the frames are taken from.

use gst::prelude::*;
use gstreamer as gst;

use crate::{container::Container, decoder_input::is_video_decoder};

/// A stream that is decoded.
pub(crate) struct Selected {
    pub(crate) pad: gst::Pad,
    /// None for raw video.
    pub(crate) decoder: Option<gst::Element>,
}

/// What is known about a stream. The greatest is taken, and the first of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Merits {
    /// Not the cover image of a recording.
    has_several_frames: bool,
    /// Thumbnails and covers are JPEG or PNG where the video is something else.
    is_video_codec: bool,
    /// Not marked by the container as one of those that are not played unless asked for.
    is_enabled: bool,
    /// Marked by the container as the one to be played.
    is_default: bool,
    pixels: i64,
}

/// The video among the decoded pads of `decodebin`; none where there is only the cover of a sound
/// recording, or nothing.
pub(crate) fn select(decodebin: &gst::Element, container: Option<&Container>) -> Option<Selected> {
    let candidates = decodebin.src_pads().into_iter().filter_map(|pad| {
        let decoder = decoder(&pad);
        let merits = merits(&pad, decoder.as_ref(), container)?;
        Some((merits, Selected { pad, decoder }))
    });
    // `max_by_key` gives the last of several.
    let (merits, selected) = candidates.reduce(|best, next| if next.0 > best.0 { next } else { best })?;
    let is_cover = !merits.has_several_frames && !merits.is_video_codec;
    (!(is_cover && container.is_some_and(|container| container.has_other_tracks))).then_some(selected)
}

fn merits(pad: &gst::Pad, decoder: Option<&gst::Element>, container: Option<&Container>) -> Option<Merits> {
    let caps = pad.current_caps()?;
    let picture = caps.structure(0).filter(|picture| picture.name().starts_with("video/"))?;
    let side = |name| i64::from(picture.get::<i32>(name).unwrap_or(0));
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

/// The number of a track, with which the demuxers' stream ids end.
pub(crate) fn stream_number(stream_id: &str) -> Option<u64> {
    stream_id.rsplit(['/', ':']).next()?.parse().ok()
}

/// The decoder behind a pad of decodebin; none for raw video.
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
    fn a_video_is_taken_before_a_larger_cover_and_the_default_before_the_larger() {
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
