//! Where decoded frames leave GStreamer: each is counted, and waits for the camera's thread.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    ops::RangeInclusive,
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
use lookout_schema::{Clock, DropCause, Timestamp};
use lookout_stage::{CameraLedger, Thinning, Ticket, WhenFull};

use crate::{
    arrival::Arrivals,
    capture::FrameTimes,
    orientation::Orientation,
    pace::Pace,
    stamp::{Stamp, Stamper},
};

/// A frame as it left the decoder.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) sample: gst::Sample,
    /// How the frame is turned to be displayed.
    pub(crate) orientation: Orientation,
    pub(crate) ticket: Ticket,
    pub(crate) stamp: Stamp,
    pub(crate) arrived_at: Instant,
    pub(crate) decoded_at: Instant,
}

/// What a tap needs to count frames.
#[derive(Debug, Clone)]
pub(crate) struct TapSettings {
    pub(crate) ledger: Arc<CameraLedger>,
    pub(crate) stamper: Arc<Stamper>,
    pub(crate) fps: Option<f64>,
    /// Every so many frames are kept.
    pub(crate) every: NonZeroU32,
    /// What the worker has time for.
    pub(crate) thinning: Thinning,
    /// Live frames make room for newer ones; a file's decoder waits.
    pub(crate) when_full: WhenFull,
    /// Frames that may wait for a batch. As many may wait to be converted, within [`WAITING`].
    pub(crate) queue: NonZeroUsize,
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
    undecodable: AtomicU64,
    /// Frames to come that lack a part of the picture, after a recovery point.
    recovering: AtomicU64,
    closed: AtomicBool,
}

impl TapCounts {
    /// Frames that left the decoder, those over the rate limit and those that could not be decoded included.
    pub(crate) fn frames(&self) -> u64 {
        self.frames.load(Relaxed)
    }

    /// Frames that lack what they are predicted from.
    pub(crate) fn undecodable(&self) -> u64 {
        self.undecodable.load(Relaxed)
    }

    /// Whether frames came, and not one of them could be decoded.
    pub(crate) fn has_no_key_frame(&self) -> bool {
        let undecodable = self.undecodable();
        undecodable > 0 && undecodable == self.frames()
    }

    /// Counts a frame that was withheld from the decoder.
    pub(crate) fn note_undecodable(&self) {
        self.undecodable.fetch_add(1, Relaxed);
        self.frames.fetch_add(1, Relaxed);
    }

    /// The next `frames` lack a part of the picture.
    pub(crate) fn recover(&self, frames: u64) {
        self.recovering.store(frames, Relaxed);
    }
}

/// Decoded frames that may wait. The camera's thread is seldom behind by more than one, but for moments in which all
/// cameras connect; and frames are large.
const WAITING: RangeInclusive<usize> = 2..=32;

/// A tap on `sink`, which tells `at_end` when the stream has ended.
pub(crate) fn tap(
    sink: &app::AppSink,
    settings: TapSettings,
    arrivals: Arc<Arrivals>,
    at_end: impl Fn() + Send + 'static,
) -> Tap {
    let (sender, frames) = bounded(settings.queue.get().clamp(*WAITING.start(), *WAITING.end()));
    let counts = Arc::new(TapCounts::default());
    let mut inlet = Inlet {
        pace: settings.fps.map(Pace::new),
        settings,
        arrivals,
        counts: Arc::clone(&counts),
        sender,
        oldest: None,
        within_limits: 0,
        was_whole: false,
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
    /// Whether a frame came that the decoder did not mark as corrupt.
    was_whole: bool,
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
        self.hand_on(Decoded { sample, orientation, ticket, stamp, arrived_at, decoded_at })
    }

    /// Why the frame is not to be shown, where it lacks what it is predicted from.
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

    /// Why the frame is not wanted, by the limits on the frame rate.
    fn left_out(&mut self, stamp: &Stamp, times: FrameTimes, decoded_at: Instant) -> Option<DropCause> {
        let TapSettings { every, thinning, .. } = &self.settings;
        if !stamp.seq.is_multiple_of(u64::from(every.get())) {
            return Some(DropCause::Skipped);
        }
        if let Some(pace) = &mut self.pace {
            let at = match (stamp.clock, times.pts) {
                (Clock::File, _) => since_epoch(stamp.captured_at),
                (_, Some(pts)) => Duration::from_nanos(pts),
                // A live stream without times is paced by when its frames come.
                (_, None) => process_time(decoded_at),
            };
            if !pace.keeps(at) {
                return Some(DropCause::FpsLimit);
            }
        }
        let number = self.within_limits;
        self.within_limits += 1;
        (!thinning.keeps(number)).then_some(DropCause::FpsLimit)
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

/// A time of a file, which may be read at any speed.
pub(crate) fn since_epoch(at: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(at.as_unix_us()).unwrap_or(0))
}

/// A time that grows with the clock, from an arbitrary start.
pub(crate) fn process_time(now: Instant) -> Duration {
    use std::sync::OnceLock;
    static START: OnceLock<Instant> = OnceLock::new();
    now.saturating_duration_since(*START.get_or_init(|| now))
}
