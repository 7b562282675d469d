//! Passes received packets to GStreamer: through the jitter buffer in `rtpbin` to the decoder.

use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, bounded};
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as app;
use lookout_config::CameraSettings;

use crate::{
    Fault,
    gst_element::{make, put},
};

/// The appsrc elements that take one camera's RTP and RTCP packets.
#[derive(Debug)]
pub(crate) struct Feed {
    rtp: app::AppSrc,
    rtcp: app::AppSrc,
    formats: Arc<Mutex<Vec<(u32, gst::Caps)>>>,
    /// Receiver reports to be sent to the camera.
    reports: Receiver<Vec<u8>>,
}

/// How many receiver reports may wait to be sent. Late reports are useless, so more are discarded.
const REPORTS: usize = 8;

/// How many bytes of packets may wait for GStreamer, which takes them immediately unless it hangs.
const WAITING: u64 = 32 << 20;

impl Feed {
    /// Adds the elements to `pipeline`, and links them to `decode`, which receives the camera's video.
    pub(crate) fn add(
        pipeline: &gst::Pipeline,
        settings: &CameraSettings,
        decode: &gst::Element,
    ) -> Result<Self, Fault> {
        let source = |caps: Option<gst::Caps>| {
            let source = app::AppSrc::builder()
                .is_live(true)
                .do_timestamp(true)
                .format(gst::Format::Time)
                .max_bytes(WAITING)
                .leaky_type(app::AppLeakyType::Downstream);
            match caps {
                Some(caps) => source.caps(&caps).build(),
                None => source.build(),
            }
        };
        let (rtp, rtcp) = (source(None), source(Some(gst::Caps::new_empty_simple("application/x-rtcp"))));
        let bin = make("rtpbin")?;
        bin.set_property("latency", settings.jitter_buffer.as_millis() as u32);
        bin.set_property("add-reference-timestamp-meta", true);
        let (sender, reports) = bounded(REPORTS);
        let sink = app::AppSink::builder()
            .sync(false)
            .async_(false)
            .max_buffers(1)
            .enable_last_sample(false)
            .build();
        sink.set_callbacks(
            app::AppSinkCallbacks::builder()
                .new_sample(move |sink| {
                    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    if let Some(map) = sample.buffer().and_then(|buffer| buffer.map_readable().ok()) {
                        let _ = sender.try_send(map.to_vec());
                    }
                    Ok(gst::FlowSuccess::Ok)
                })
                .build(),
        );
        let formats = Arc::new(Mutex::new(Vec::<(u32, gst::Caps)>::new()));
        let known = Arc::clone(&formats);
        bin.connect("request-pt-map", false, move |values| {
            let pt = values.get(2).and_then(|value| value.get::<u32>().ok());
            Some(caps_for(&known.lock().unwrap_or_else(PoisonError::into_inner), pt?).to_value())
        });
        let weak = decode.downgrade();
        bin.connect_pad_added(move |_, pad| {
            let entry = weak.upgrade().and_then(|decode| decode.static_pad("sink"));
            let Some(entry) = entry.filter(|_| pad.name().starts_with("recv_rtp_src_")) else { return };
            // After a change of the payload type the packets come from another pad.
            if let Some(before) = entry.peer() {
                let _ = before.unlink(&entry);
            }
            // If the link fails, no frame arrives, and the connection times out.
            let _ = pad.link(&entry);
        });
        for element in [rtp.upcast_ref(), rtcp.upcast_ref(), &bin, sink.upcast_ref::<gst::Element>()] {
            put(pipeline, element)?;
        }
        let linked = rtp
            .link_pads(None, &bin, Some("recv_rtp_sink_0"))
            .and_then(|()| rtcp.link_pads(None, &bin, Some("recv_rtcp_sink_0")))
            .and_then(|()| bin.link_pads(Some("send_rtcp_src_0"), &sink, None));
        linked.map_err(|error| Fault::element("rtpbin", &error))?;
        Ok(Self { rtp, rtcp, formats, reports })
    }

    /// Sets the caps of the packets by payload type. The first payload type is the expected one.
    pub(super) fn expect(&self, formats: &[(u32, gst::Caps)]) {
        if let Some((_, caps)) = formats.first() {
            self.rtp.set_caps(Some(caps));
        }
        *self.formats.lock().unwrap_or_else(PoisonError::into_inner) = formats.to_vec();
    }

    pub(super) fn rtp(&self, packet: Vec<u8>) {
        // Fails only while the pipeline is being stopped.
        let _ = self.rtp.push_buffer(gst::Buffer::from_slice(packet));
    }

    pub(super) fn rtcp(&self, packet: Vec<u8>) {
        let _ = self.rtcp.push_buffer(gst::Buffer::from_slice(packet));
    }

    /// Signals the end of the stream. The remaining frames still leave the jitter buffer and the decoder before it.
    pub(super) fn end(&self) {
        let _ = self.rtp.end_of_stream();
    }

    pub(super) fn reports(&self) -> impl Iterator<Item = Vec<u8>> {
        self.reports.try_iter()
    }
}

/// Returns the caps of payload type `pt`.
///
/// Some cameras send another payload type than they described. It gets the caps of the described one.
fn caps_for(formats: &[(u32, gst::Caps)], pt: u32) -> Option<gst::Caps> {
    if let Some((_, caps)) = formats.iter().find(|(known, _)| *known == pt) {
        return Some(caps.clone());
    }
    let mut caps = formats.first()?.1.clone();
    caps.make_mut().structure_mut(0)?.set("payload", i32::try_from(pt).ok()?);
    Some(caps)
}
