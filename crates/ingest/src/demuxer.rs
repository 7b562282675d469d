//! Pad probes that work around errors of GStreamer's demuxers and parsers.

use std::sync::Arc;

use gst::prelude::*;
use gstreamer as gst;

use crate::{
    annexb::{CONTEXT, empty_units},
    arrival::Arrivals,
    container::Container,
    track_selection::stream_number,
};

/// Applies the container's `corrections` to the data that `source` reads, and records each read in `arrivals`.
pub(crate) fn watch_source(
    source: &gst::Element,
    container: Option<Arc<Container>>,
    arrivals: &Arc<Arrivals>,
) {
    let Some(pad) = source.static_pad("src") else { return };
    let reads = Arc::downgrade(arrivals);
    pad.add_probe(gst::PadProbeType::PULL | gst::PadProbeType::PUSH, move |_, info| {
        let Some(arrivals) = reads.upgrade() else { return gst::PadProbeReturn::Remove };
        let is_pulled = info.mask.contains(gst::PadProbeType::PULL);
        let offset = info.offset;
        let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data else { return gst::PadProbeReturn::Ok };
        arrivals.note_read();
        let start = if is_pulled { offset } else { buffer.offset() };
        let end = start.saturating_add(buffer.size() as u64);
        for correction in container.iter().flat_map(|container| &container.corrections) {
            let at = correction.offset;
            if at < end && at + correction.bytes.len() as u64 > start {
                let from = at.max(start);
                let bytes = &correction.bytes[(from - at) as usize..];
                let bytes = &bytes[..bytes.len().min((end - from) as usize)];
                // Fails only for a range outside the buffer, which the conditions above exclude.
                let _ = buffer.make_mut().copy_from_slice((from - start) as usize, bytes);
            }
        }
        gst::PadProbeReturn::Ok
    });
}

/// Works around input and output that the demuxers and parsers of `pipeline` handle wrongly.
pub(crate) fn mend(pipeline: &gst::Pipeline, container: Option<Arc<Container>>) {
    pipeline.connect_deep_element_added(move |_, _, element| {
        let Some(factory) = element.factory() else { return };
        match factory.name().as_str() {
            "qtdemux" => {
                let container = container.clone();
                element.connect_pad_added(move |_, pad| open_segments(pad, container.as_deref()));
            }
            "h264parse" | "h265parse" => remove_empty_units(element),
            _ => {}
        }
    });
}

/// Removes the stop time from the segments of a track without an edit list.
///
/// qtdemux sets the stop time to the decoding time of the last frame. With reordered frames, that is before the last
/// frames are displayed.
fn open_segments(pad: &gst::Pad, container: Option<&Container>) {
    let number = pad.stream_id().and_then(|id| stream_number(&id));
    let track = |container: &Container| {
        container.video.iter().find(|track| Some(track.stream) == number).map(|track| track.has_edits)
    };
    if container.and_then(track) != Some(false) {
        return;
    }
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |_, info| {
        let Some(gst::PadProbeData::Event(event)) = &mut info.data else { return gst::PadProbeReturn::Ok };
        let opened = match event.view() {
            gst::EventView::Segment(segment) => {
                segment.segment().downcast_ref::<gst::ClockTime>().map(|segment| {
                    let mut open = segment.clone();
                    open.set_stop(gst::ClockTime::NONE);
                    gst::event::Segment::builder(&open).seqnum(event.seqnum()).build()
                })
            }
            _ => None,
        };
        if let Some(opened) = opened {
            *event = opened;
        }
        gst::PadProbeReturn::Ok
    });
}

/// Overwrites the start codes of empty NAL units in the input of `parser` with zeros. The parser would take an empty
/// unit for the end of its access unit, and the frame would be lost.
fn remove_empty_units(parser: &gst::Element) {
    let Some(pad) = parser.static_pad("sink") else { return };
    pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::PULL, |pad, info| {
        let is_pulled = info.mask.contains(gst::PadProbeType::PULL);
        let offset = info.offset;
        let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data else { return gst::PadProbeReturn::Ok };
        let caps = pad.current_caps();
        let format = caps.as_ref().and_then(|caps| caps.structure(0)?.get::<&str>("stream-format").ok());
        if format.is_some_and(|format| format != "byte-stream") {
            return gst::PadProbeReturn::Ok;
        }
        // Pushed buffers are taken to hold whole NAL units, which need no context.
        let around = |from: u64, size: usize| -> Vec<u8> {
            let peer = pad.peer().filter(|_| is_pulled && size > 0);
            let bytes = peer.and_then(|peer| peer.range(from, size as u32).ok());
            bytes.and_then(|bytes| Some(bytes.map_readable().ok()?.to_vec())).unwrap_or_default()
        };
        let behind = (offset.min(CONTEXT as u64)) as usize;
        let before = around(offset - behind as u64, behind);
        let after = around(offset + buffer.size() as u64, CONTEXT);
        let found =
            buffer.map_readable().map(|piece| empty_units(&before, &piece, &after)).unwrap_or_default();
        if !found.is_empty()
            && let Ok(mut piece) = buffer.make_mut().map_writable()
        {
            found.iter().for_each(|at| piece[*at] = 0);
        }
        gst::PadProbeReturn::Ok
    });
}
