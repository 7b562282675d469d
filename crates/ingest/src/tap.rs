//! Where decoded frames leave GStreamer: each is counted, and waits for the camera's thread.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as app;
use lookout_schema::{DropCause, SessionId};
use lookout_stage::{CameraLedger, Thinning, Ticket, WhenFull};

use crate::{arrival::Arrivals, orientation::Orientation, pace::Pace};

/// A frame as it left the decoder.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) sample: gst::Sample,
    /// How the frame is turned to be displayed.
    pub(crate) orientation: Orientation,
    pub(crate) ticket: Ticket,
    pub(crate) seq: u64,
    pub(crate) arrived_at: Instant,
    pub(crate) decoded_at: Instant,
}

/// What a tap needs to count frames.
#[derive(Debug, Clone)]
pub(crate) struct TapSettings {
    pub(crate) ledger: Arc<CameraLedger>,
    pub(crate) session: SessionId,
    pub(crate) fps: Option<f64>,
    /// Every so many frames are kept.
    pub(crate) every: NonZeroU32,
    /// What the worker has time for.
    pub(crate) thinning: Thinning,
    /// Live frames make room for newer ones; a file's decoder waits.
    pub(crate) when_full: WhenFull,
}

/// The camera thread's end.
#[derive(Debug)]
pub(crate) struct Tap {
    pub(crate) frames: Receiver<Decoded>,
    pub(crate) counts: Arc<TapCounts>,
}

/// What has come through a tap.
#[derive(Debug, Default)]
pub(crate) struct TapCounts {
    frames: AtomicU64,
    closed: AtomicBool,
}

impl TapCounts {
    /// Frames that left the decoder, those over the rate limit too.
    pub(crate) fn frames(&self) -> u64 {
        self.frames.load(Relaxed)
    }
}

/// Decoded frames are large, and the camera's thread is seldom behind by more than one.
const WAITING: usize = 2;

/// A tap on `sink`, which tells `at_end` when the stream has ended.
pub(crate) fn tap(
    sink: &app::AppSink,
    settings: TapSettings,
    arrivals: Arc<Arrivals>,
    at_end: impl Fn() + Send + 'static,
) -> Tap {
    let (sender, frames) = bounded(WAITING);
    let counts = Arc::new(TapCounts::default());
    let mut inlet = Inlet {
        pace: settings.fps.map(Pace::new),
        settings,
        arrivals,
        counts: Arc::clone(&counts),
        sender,
        oldest: None,
        within_limits: 0,
    };
    if inlet.settings.when_full == WhenFull::DropOldest {
        inlet.oldest = Some(frames.clone());
    }
    let callbacks = app::AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            let orientation = sink.static_pad("sink").map(|pad| Orientation::of(&pad));
            inlet.take(sample, orientation.unwrap_or_default())
        })
        .eos(move |_| at_end())
        .build();
    sink.set_callbacks(callbacks);
    Tap { frames, counts }
}

/// GStreamer's end.
struct Inlet {
    settings: TapSettings,
    pace: Option<Pace>,
    arrivals: Arc<Arrivals>,
    counts: Arc<TapCounts>,
    sender: Sender<Decoded>,
    oldest: Option<Receiver<Decoded>>,
    /// Frames that the camera's own limits left.
    within_limits: u64,
}

impl Inlet {
    fn take(
        &mut self,
        sample: gst::Sample,
        orientation: Orientation,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        if self.counts.closed.load(Relaxed) {
            return Err(gst::FlowError::Flushing);
        }
        let decoded_at = Instant::now();
        let seq = self.counts.frames.fetch_add(1, Relaxed);
        let buffer = sample.buffer();
        let pts = buffer.and_then(gst::BufferRef::pts).map(gst::ClockTime::nseconds);
        let arrived_at = pts.and_then(|pts| self.arrivals.of(pts)).unwrap_or(decoded_at);
        let TapSettings { ledger, session, every, thinning, .. } = &self.settings;
        if !seq.is_multiple_of(u64::from(every.get())) {
            ledger.receive_and_drop(*session, seq, DropCause::Skipped);
            return Ok(gst::FlowSuccess::Ok);
        }
        if let Some(pace) = &mut self.pace {
            // A stream without times is paced by when its frames come.
            let at = pts.map_or_else(|| process_time(decoded_at), Duration::from_nanos);
            if !pace.keeps(at) {
                ledger.receive_and_drop(*session, seq, DropCause::FpsLimit);
                return Ok(gst::FlowSuccess::Ok);
            }
        }
        let number = self.within_limits;
        self.within_limits += 1;
        if !thinning.keeps(number) {
            ledger.receive_and_drop(*session, seq, DropCause::FpsLimit);
            return Ok(gst::FlowSuccess::Ok);
        }
        let ticket = ledger.receive(*session, seq);
        self.hand_on(Decoded { sample, orientation, ticket, seq, arrived_at, decoded_at })
    }

    fn hand_on(&self, mut decoded: Decoded) -> Result<gst::FlowSuccess, gst::FlowError> {
        let Some(oldest) = &self.oldest else {
            return self.sender.send(decoded).map(|()| gst::FlowSuccess::Ok).map_err(|refused| {
                refused.into_inner().ticket.dropped(DropCause::Shutdown);
                gst::FlowError::Flushing
            });
        };
        loop {
            decoded = match self.sender.try_send(decoded) {
                Ok(()) => return Ok(gst::FlowSuccess::Ok),
                Err(TrySendError::Full(decoded)) => {
                    if let Ok(oldest) = oldest.try_recv() {
                        oldest.ticket.dropped(DropCause::QueueFull);
                    }
                    decoded
                }
                Err(TrySendError::Disconnected(decoded)) => {
                    decoded.ticket.dropped(DropCause::Shutdown);
                    return Err(gst::FlowError::Flushing);
                }
            };
        }
    }
}

impl Tap {
    /// Turns away all frames to come, uncounted, and drops those that wait: their connection is over. A
    /// decoder that waits for room finds it now, and so does not hold up the end of its pipeline.
    pub(crate) fn close(&self) {
        self.counts.closed.store(true, Relaxed);
        for decoded in self.frames.try_iter() {
            decoded.ticket.dropped(DropCause::Shutdown);
        }
    }
}

// The last frame of a decoder that had waited for room.
impl Drop for Tap {
    fn drop(&mut self) {
        self.close();
    }
}

/// A time that grows with the clock, from an arbitrary start.
pub(crate) fn process_time(now: Instant) -> Duration {
    use std::sync::OnceLock;
    static START: OnceLock<Instant> = OnceLock::new();
    now.saturating_duration_since(*START.get_or_init(|| now))
}
