//! Pad probes that record the packets which enter a pipeline's decoders.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Instant,
};

use gst::prelude::*;
use gstreamer as gst;

use crate::arrival::{Arrivals, DecoderId};

/// Returns whether `element` decodes video, or images such as those of Motion JPEG.
pub(crate) fn is_video_decoder(element: &gst::Element) -> bool {
    let kinds = [gst::ElementFactoryType::MEDIA_VIDEO, gst::ElementFactoryType::MEDIA_IMAGE];
    element.factory().is_some_and(|factory| {
        kinds.iter().any(|kind| factory.has_type(gst::ElementFactoryType::DECODER | *kind))
    })
}

/// Returns the id of `element` in [`Arrivals`].
pub(crate) fn id(element: &gst::Element) -> DecoderId {
    element.as_ptr().addr()
}

/// Records in `arrivals` the packets that enter the decoders of `pipeline`, and limits libav decoders to one thread
/// each. Many cameras use all cores without more threads, and each thread of a decoder holds frames.
pub(crate) fn watch(pipeline: &gst::Pipeline, arrivals: &Arc<Arrivals>) {
    let arrivals = Arc::downgrade(arrivals);
    pipeline.connect_deep_element_added(move |_, _, element| {
        if !is_video_decoder(element) {
            return;
        }
        let is_libav = element.factory().is_some_and(|factory| factory.name().starts_with("avdec_"));
        if is_libav && element.has_property("max-threads") {
            element.set_property("max-threads", 1);
        }
        if let Some(pad) = element.static_pad("sink") {
            watch_pad(&pad, id(element), Weak::clone(&arrivals));
        }
    });
}

fn watch_pad(pad: &gst::Pad, decoder: DecoderId, arrivals: Weak<Arrivals>) {
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    let stream = Mutex::new(Stream::default());
    pad.add_probe(kinds, move |_, info| {
        let Some(arrivals) = arrivals.upgrade() else { return gst::PadProbeReturn::Remove };
        let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(buffer) = info.buffer() {
            let pts = buffer.pts().map(gst::ClockTime::nseconds);
            arrivals.note(decoder, pts, stream.shows(buffer), Instant::now());
        }
        match info.event().map(|event| event.view()) {
            Some(gst::EventView::Caps(caps)) => {
                if let Some(format) = caps.caps().structure(0) {
                    arrivals.set_codec(decoder, format.name());
                    stream.is_image = format.name().starts_with("image/");
                    stream.is_vp8 = format.name() == "video/x-vp8";
                }
            }
            Some(gst::EventView::Segment(segment)) => {
                stream.segment = segment.segment().downcast_ref::<gst::ClockTime>().cloned();
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

/// What caps and segment events state about the packets that follow.
#[derive(Debug, Default)]
struct Stream {
    segment: Option<gst::FormattedSegment<gst::ClockTime>>,
    is_vp8: bool,
    is_image: bool,
}

impl Stream {
    /// Returns whether the decoder should output a displayed frame for `packet`. It outputs none for packets outside
    /// the range that an edit list selects, and none for VP8's alternate reference frames.
    fn shows(&self, packet: &gst::BufferRef) -> bool {
        // A still image arrives in buffers of any size, each a part of it.
        if self.is_image {
            return false;
        }
        if packet.flags().contains(gst::BufferFlags::DECODE_ONLY) {
            return false;
        }
        if let (Some(segment), Some(start)) = (&self.segment, packet.pts()) {
            let end = packet.duration().map(|duration| start + duration);
            if segment.clip(start, end.or(Some(start))).is_none() {
                return false;
            }
        }
        // RFC 6386, section 9.1: the frame tag, with the bit `show_frame`.
        let mut tag = [0];
        !(self.is_vp8 && packet.copy_to_slice(0, &mut tag).is_ok() && tag[0] & 0x10 == 0)
    }
}
