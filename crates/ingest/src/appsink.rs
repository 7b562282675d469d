//! The appsink callback: counts each decoded frame, and queues it for the camera's thread.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as app;
use lookout_schema::{Clock, DropCause, Timestamp};
use lookout_stage::{CameraLedger, DropOldestSender, FrameSkip, Ticket, WhenFull};

use crate::{
    arrival::Arrivals,
    capture::FrameTimes,
    frame_rate_limit::FrameRateLimit,
    orientation::Orientation,
    stamp::{Stamp, Stamper},
};

/// A decoded frame.
#[derive(Debug)]
pub(crate) struct DecodedFrame {
    pub(crate) sample: gst::Sample,
    /// How the frame is turned for display.
    pub(crate) orientation: Orientation,
    pub(crate) ticket: Ticket,
    pub(crate) stamp: Stamp,
    pub(crate) arrived_at: Instant,
    pub(crate) decoded_at: Instant,
}

/// The settings of an appsink callback.
#[derive(Debug, Clone)]
pub(crate) struct AppsinkSettings {
    pub(crate) ledger: Arc<CameraLedger>,
    pub(crate) stamper: Arc<Stamper>,
    pub(crate) fps: Option<f64>,
    /// The frame-skip interval: one frame in this many is kept.
    pub(crate) every: NonZeroU32,
    /// The frame-skip interval that load shedding sets.
    pub(crate) frame_skip: FrameSkip,
    /// Live sources drop the oldest frame. The decoder of a file waits.
    pub(crate) when_full: WhenFull,
    /// The length of the camera's batch queue. The queue of decoded frames has the same length, within [`WAITING`].
    pub(crate) queue: NonZeroUsize,
}

/// The camera thread's end of the queue of decoded frames.
#[derive(Debug)]
pub(crate) struct DecodedFrames {
    pub(crate) frames: Receiver<DecodedFrame>,
    pub(crate) counts: Arc<AppsinkCounts>,
}

/// Counters of the frames that reached the appsink.
#[derive(Debug, Default)]
pub(crate) struct AppsinkCounts {
    frames: AtomicU64,
    undecodable: AtomicU64,
    /// How many of the next frames are still incomplete after a recovery point.
    recovering: AtomicU64,
    closed: AtomicBool,
}

impl AppsinkCounts {
    /// Returns the number of frames that left the decoder, including those that the rate limit dropped and those
    /// that could not be decoded.
    pub(crate) fn frames(&self) -> u64 {
        self.frames.load(Relaxed)
    }

    /// Returns the number of frames whose reference frames are missing.
    pub(crate) fn undecodable(&self) -> u64 {
        self.undecodable.load(Relaxed)
    }

    /// Returns whether frames arrived and none of them could be decoded.
    pub(crate) fn has_no_key_frame(&self) -> bool {
        let undecodable = self.undecodable();
        undecodable > 0 && undecodable == self.frames()
    }

    /// Counts a frame that was withheld from the decoder.
    pub(crate) fn note_undecodable(&self) {
        self.undecodable.fetch_add(1, Relaxed);
        self.frames.fetch_add(1, Relaxed);
    }

    /// Marks the next `frames` frames as incomplete.
    pub(crate) fn recover(&self, frames: u64) {
        self.recovering.store(frames, Relaxed);
    }
}

/// The range of the queue length for decoded frames, which are large.
///
/// The camera's thread is seldom more than one frame behind, except when all cameras connect at the same time.
const WAITING: RangeInclusive<usize> = 2..=32;

/// Installs the callbacks on `sink`. `at_end` is called at the end of the stream.
pub(crate) fn install(
    sink: &app::AppSink,
    settings: AppsinkSettings,
    arrivals: Arc<Arrivals>,
    at_end: impl Fn() + Send + 'static,
) -> DecodedFrames {
    let (sender, frames) = bounded(settings.queue.get().clamp(*WAITING.start(), *WAITING.end()));
    let counts = Arc::new(AppsinkCounts::default());
    let queue = match settings.when_full {
        WhenFull::Block => DecodedQueue::Block(sender),
        WhenFull::DropOldest => DecodedQueue::DropOldest(DropOldestSender::new(sender, &frames)),
    };
    let mut callback = AppsinkCallback {
        limit: settings.fps.map(FrameRateLimit::new),
        settings,
        arrivals,
        counts: Arc::clone(&counts),
        queue,
        within_limits: 0,
        was_whole: false,
    };
    let callbacks = app::AppSinkCallbacks::builder()
        .new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            let orientation = sink.static_pad("sink").map(|pad| Orientation::of(&pad));
            callback.take(sample, orientation.unwrap_or_default())
        })
        .eos(move |_| at_end())
        .build();
    sink.set_callbacks(callbacks);
    DecodedFrames { frames, counts }
}

/// GStreamer's end of the queue of decoded frames, which `DecodedFrames` reads.
struct AppsinkCallback {
    settings: AppsinkSettings,
    limit: Option<FrameRateLimit>,
    arrivals: Arc<Arrivals>,
    counts: Arc<AppsinkCounts>,
    queue: DecodedQueue,
    /// Number of frames within the camera's own limits on the frame rate.
    within_limits: u64,
    /// Whether a frame has arrived that the decoder did not mark as corrupt.
    was_whole: bool,
}

/// The sending side of the queue of decoded frames.
enum DecodedQueue {
    Block(Sender<DecodedFrame>),
    DropOldest(DropOldestSender<DecodedFrame>),
}

impl AppsinkCallback {
    fn take(
        &mut self,
        sample: gst::Sample,
        orientation: Orientation,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        if self.counts.closed.load(Relaxed) {
            return Err(gst::FlowError::Flushing);
        }
        let decoded_at = Instant::now();
        let corrupt = self.corrupt(&sample);
        self.counts.frames.fetch_add(1, Relaxed);
        let times = FrameTimes::of(&sample);
        let arrived_at = times.pts.and_then(|pts| self.arrivals.take(pts)).unwrap_or(decoded_at);
        let stamp = self.settings.stamper.frame(times, arrived_at);
        let dropped = corrupt.or_else(|| self.left_out(&stamp, times, decoded_at));
        let ledger = &self.settings.ledger;
        if let Some(cause) = dropped {
            ledger.receive_and_drop(stamp.session, stamp.seq, cause);
            return Ok(gst::FlowSuccess::Ok);
        }
        let ticket = ledger.receive(stamp.session, stamp.seq);
        self.forward(DecodedFrame { sample, orientation, ticket, stamp, arrived_at, decoded_at })
    }

    /// Returns the drop cause of a frame whose reference frames are missing, or None for a complete frame.
    fn corrupt(&mut self, sample: &gst::Sample) -> Option<DropCause> {
        let recovering = &self.counts.recovering;
        let is_recovering = recovering.fetch_update(Relaxed, Relaxed, |frames| frames.checked_sub(1)).is_ok();
        let is_marked =
            sample.buffer().is_some_and(|buffer| buffer.flags().contains(gst::BufferFlags::CORRUPTED));
        if !is_recovering && !is_marked {
            self.was_whole = true;
            return None;
        }
        self.counts.undecodable.fetch_add(1, Relaxed);
        Some(if self.was_whole { DropCause::Corrupt } else { DropCause::NoKeyFrame })
    }

    /// Returns the drop cause of a frame that exceeds a limit on the frame rate, or None.
    fn left_out(&mut self, stamp: &Stamp, times: FrameTimes, decoded_at: Instant) -> Option<DropCause> {
        let AppsinkSettings { every, frame_skip, .. } = &self.settings;
        if !stamp.seq.is_multiple_of(u64::from(every.get())) {
            return Some(DropCause::Skipped);
        }
        if let Some(limit) = &mut self.limit {
            let at = match (stamp.clock, times.pts) {
                (Clock::File, _) => since_epoch(stamp.captured_at),
                (_, Some(pts)) => Duration::from_nanos(pts),
                // Frames of a live stream without timestamps are limited by their arrival time.
                (_, None) => process_time(decoded_at),
            };
            if !limit.keeps(at) {
                return Some(DropCause::FpsLimit);
            }
        }
        let number = self.within_limits;
        self.within_limits += 1;
        (!frame_skip.keeps(number)).then_some(DropCause::FpsLimit)
    }

    fn forward(&self, decoded: DecodedFrame) -> Result<gst::FlowSuccess, gst::FlowError> {
        match &self.queue {
            DecodedQueue::Block(queue) => queue.send(decoded).map_err(|refused| {
                refused.into_inner().ticket.dropped(DropCause::Shutdown);
                gst::FlowError::Flushing
            })?,
            DecodedQueue::DropOldest(queue) => {
                queue.send(decoded, |oldest| oldest.ticket.dropped(DropCause::QueueFull));
            }
        }
        Ok(gst::FlowSuccess::Ok)
    }
}

impl DecodedFrames {
    /// Rejects all further frames without counting them, and drops those in the queue.
    ///
    /// A decoder that waits for a free slot in the queue then continues, so that its pipeline can stop.
    pub(crate) fn close(&self) {
        self.counts.closed.store(true, Relaxed);
        for decoded in self.frames.try_iter() {
            decoded.ticket.dropped(DropCause::Shutdown);
        }
    }
}

// Drops the last frame of a decoder that had waited for a free slot.
impl Drop for DecodedFrames {
    fn drop(&mut self) {
        self.close();
    }
}

/// Returns the time since the Unix epoch, for limits on the frame rate of files, which may be read at any speed.
pub(crate) fn since_epoch(at: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(at.as_unix_us()).unwrap_or(0))
}

/// Returns the time on a monotonic clock since its first use.
pub(crate) fn process_time(now: Instant) -> Duration {
    use std::sync::OnceLock;
    static START: OnceLock<Instant> = OnceLock::new();
    now.saturating_duration_since(*START.get_or_init(|| now))
}
