//! Streams one camera's clip to its clients.

use std::{
    fmt,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use gst_app::AppSrc;
use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_rtsp_server as server;
use lookout_schema::Timestamp;
use server::prelude::*;

use super::{Fault, FaultKind};
use crate::{Clip, FrameTruth};

/// Receives the ground truth of each frame when it is sent.
#[derive(Clone)]
pub struct GroundTruthSink(pub Arc<OnFrame>);

/// The callback's arguments are the camera, the time, and the frame's ground truth.
pub type OnFrame = dyn Fn(usize, Timestamp, &FrameTruth) + Send + Sync;

impl fmt::Debug for GroundTruthSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GroundTruthSink")
    }
}

/// A camera with its clips and faults.
#[derive(Debug)]
pub(super) struct CameraStream {
    pub(super) camera: usize,
    pub(super) clip: Arc<Clip>,
    pub(super) resized: Option<Arc<Clip>>,
    pub(super) faults: Vec<Fault>,
    pub(super) truth: Option<GroundTruthSink>,
    pub(super) started: Instant,
}

/// How long the frames of a burst are held.
const BURST: Duration = Duration::from_millis(500);
const CLOCK_JUMP: Duration = Duration::from_secs(10);

/// Returns the media factory of a camera. All clients share one stream, which is fed while there is a client.
pub(super) fn factory(shown: Arc<CameraStream>) -> server::RTSPMediaFactory {
    let factory = server::RTSPMediaFactory::new();
    factory.set_shared(true);
    factory.set_launch(
        "( appsrc name=src is-live=true format=time max-buffers=60 leaky-type=downstream \
         caps=video/x-h264,stream-format=byte-stream,alignment=au \
         ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1 )",
    );
    factory.connect_media_configure(move |_, media| {
        let bin = media.element().downcast::<gst::Bin>().ok();
        report_capture_times(bin.as_ref());
        let source =
            bin.and_then(|bin| bin.by_name("src")).and_then(|element| element.downcast::<AppSrc>().ok());
        let Some(source) = source else { return };
        let shown = Arc::clone(&shown);
        let name = format!("camera-{}", shown.camera);
        // The thread ends with the media, because nothing can be pushed into the source then.
        let _ = thread::Builder::new().name(name).spawn(move || shown.feed(&source));
    });
    factory
}

/// Makes the RTCP sender reports of the media in `bin` contain the capture times of the frames, as those of a
/// camera do. By default, the server reports the times at which it sent the frames. They are later on a busy
/// machine, and a client would interpret the difference as a jump of the camera's clock.
fn report_capture_times(bin: Option<&gst::Bin>) {
    let pipeline = bin.and_then(GstObjectExt::parent).and_then(|parent| parent.downcast::<gst::Bin>().ok());
    let Some(pipeline) = pipeline else { return };
    pipeline.connect_element_added(|_, element| {
        if element.factory().is_some_and(|factory| factory.name() == "rtpbin") {
            element.set_property("rtcp-sync-send-time", false);
        }
    });
}

impl CameraStream {
    fn has(&self, kind: FaultKind) -> bool {
        let since = self.started.elapsed();
        self.faults.iter().any(|fault| fault.kind == kind && fault.is_on(since))
    }

    /// Pushes frames at their times until the stream has no client.
    fn feed(&self, source: &AppSrc) {
        let frame = Duration::from_secs(1) / self.clip.settings.fps;
        let started = Instant::now();
        let mut held = Vec::new();
        let mut waits_for_key = true;
        let mut was_resized = false;
        for tick in 1.. {
            let due = started + frame * tick;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if source.parent().is_none() {
                return;
            }
            // The clip continues whether or not there is a client.
            let n = (self.started.elapsed().as_nanos() / frame.as_nanos()) as usize;
            let resized = self.resized.as_ref().filter(|_| self.has(FaultKind::Resolution));
            waits_for_key |= was_resized != resized.is_some();
            was_resized = resized.is_some();
            let clip = resized.unwrap_or(&self.clip);
            let at = n % clip.units.len().max(1);
            let Some(unit) = clip.units.get(at) else { return };
            waits_for_key = self.has(FaultKind::Silence) || (waits_for_key && !unit.is_key);
            if waits_for_key {
                continue;
            }
            let skipped =
                (self.has(FaultKind::Loss) && n % 10 == 9) || (self.has(FaultKind::HalfRate) && n % 2 == 1);
            if skipped && !unit.is_key {
                continue;
            }
            let Some(now) = source.current_running_time() else { continue };
            let jump = if self.has(FaultKind::ClockJump) { CLOCK_JUMP } else { Duration::ZERO };
            let mut data = unit.data.copy();
            if let Some(data) = data.get_mut() {
                data.set_pts(now + gst::ClockTime::try_from(jump).unwrap_or_default());
                data.set_dts(gst::ClockTime::NONE);
            }
            if let (Some(GroundTruthSink(sink)), Some(truth)) = (&self.truth, clip.truth.get(at)) {
                sink(self.camera, Timestamp::now(), truth);
            }
            held.push(data);
            if self.has(FaultKind::Burst) && frame * (held.len() as u32) < BURST {
                continue;
            }
            for data in held.drain(..) {
                if source.push_buffer(data).is_err() {
                    return;
                }
            }
            if self.has(FaultKind::Disconnect) {
                let _ = source.end_of_stream();
                return;
            }
        }
    }
}
