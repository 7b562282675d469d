//! When a frame was captured, and which clock says so.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use gstreamer as gst;
use lookout_schema::{Clock, Timestamp};

/// Reads capture times off the frames of one connection.
#[derive(Debug)]
pub(crate) enum CaptureClock {
    Live {
        /// Whether it was said that the camera's clock is not believed.
        disbelief_said: bool,
    },
    /// A file's first frame was captured at `start`, so to speak.
    File { start: Timestamp, last: Duration },
}

/// A frame of a camera whose clock is right has not been under way for so long. Cameras whose clock was
/// never set count from 1970 or from when they were switched on; those whose time zone is wrong are hours
/// off. Either is no time of capture, and the arrival is the better one.
const BELIEVED: Duration = Duration::from_secs(600);

static NTP: LazyLock<gst::Caps> = LazyLock::new(|| gst::Caps::new_empty_simple("timestamp/x-ntp"));

impl CaptureClock {
    pub(crate) fn live() -> Self {
        Self::Live { disbelief_said: false }
    }

    pub(crate) fn file(start: Timestamp) -> Self {
        Self::File { start, last: Duration::ZERO }
    }

    /// When the frame in `sample` was captured; `arrived_at` is when its data reached this process.
    pub(crate) fn read(&mut self, sample: &gst::Sample, arrived_at: Instant) -> (Timestamp, Clock) {
        match self {
            Self::File { start, last } => {
                *last = stream_time(sample).unwrap_or(*last + frame_duration(sample));
                (*start + *last, Clock::File)
            }
            Self::Live { disbelief_said } => {
                let arrival = Timestamp::now() - arrived_at.elapsed();
                match sender_report_time(sample) {
                    Some(time) if is_believed(time, arrival) => (time, Clock::Rtcp),
                    Some(time) => {
                        if !*disbelief_said {
                            tracing::warn!(%time, %arrival, "the camera's clock is not set; frames are dated by their arrival");
                            *disbelief_said = true;
                        }
                        (arrival, Clock::Arrival)
                    }
                    None => (arrival, Clock::Arrival),
                }
            }
        }
    }

    /// Where the next pass over a file begins.
    pub(crate) fn end(&self) -> Option<Timestamp> {
        match self {
            Self::Live { .. } => None,
            Self::File { start, last } => Some(*start + *last),
        }
    }
}

fn is_believed(time: Timestamp, arrival: Timestamp) -> bool {
    u128::from(arrival.ms_since(time).unsigned_abs()) <= BELIEVED.as_millis()
}

/// The time that the camera's last RTCP sender report gives the frame.
fn sender_report_time(sample: &gst::Sample) -> Option<Timestamp> {
    let meta = sample
        .buffer()?
        .iter_meta::<gst::ReferenceTimestampMeta>()
        .find(|meta| meta.reference().can_intersect(&NTP))?;
    Some(Timestamp::from_ntp_ns(meta.timestamp().nseconds()))
}

fn stream_time(sample: &gst::Sample) -> Option<Duration> {
    let pts = sample.buffer()?.pts()?;
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    Some(Duration::from_nanos(segment.to_stream_time(pts)?.nseconds()))
}

fn frame_duration(sample: &gst::Sample) -> Duration {
    let stated = sample.buffer().and_then(gst::BufferRef::duration).map(gst::ClockTime::nseconds);
    stated.map(Duration::from_nanos).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(pts_ms: Option<u64>, ntp: Option<u64>) -> gst::Sample {
        crate::init().unwrap();
        let mut buffer = gst::Buffer::new();
        let writable = buffer.get_mut().unwrap();
        writable.set_pts(pts_ms.map(gst::ClockTime::from_mseconds));
        writable.set_duration(gst::ClockTime::from_mseconds(40));
        if let Some(ntp) = ntp {
            gst::ReferenceTimestampMeta::add(
                writable,
                &NTP,
                gst::ClockTime::from_nseconds(ntp),
                gst::ClockTime::NONE,
            );
        }
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        gst::Sample::builder().buffer(&buffer).segment(&segment).build()
    }

    /// The NTP time of `time` in nanoseconds.
    fn ntp(time: Timestamp) -> u64 {
        ((time.as_unix_us() - Timestamp::from_ntp_ns(0).as_unix_us()) * 1_000) as u64
    }

    #[test]
    fn before_the_first_sender_report_the_arrival_counts() {
        let arrived = Instant::now();
        let (time, clock) = CaptureClock::live().read(&sample(Some(0), None), arrived);
        assert_eq!(clock, Clock::Arrival);
        assert!(Timestamp::now().ms_since(time).abs() < 5_000);
    }

    #[test]
    fn a_sender_report_dates_the_frame() {
        let then = Timestamp::now() - Duration::from_millis(250);
        let (time, clock) = CaptureClock::live().read(&sample(Some(0), Some(ntp(then))), Instant::now());
        assert_eq!((time, clock), (then, Clock::Rtcp));
    }

    #[test]
    fn a_camera_that_was_never_told_the_time_is_not_believed() {
        for wrong in [Timestamp::from_unix_us(0), Timestamp::now() + Duration::from_secs(7_200)] {
            let (time, clock) = CaptureClock::live().read(&sample(Some(0), Some(ntp(wrong))), Instant::now());
            assert_eq!(clock, Clock::Arrival);
            assert!(Timestamp::now().ms_since(time).abs() < 5_000);
        }
    }

    #[test]
    fn a_file_is_dated_by_its_stream_time() {
        let start = Timestamp::from_unix_us(1_000_000);
        let mut clock = CaptureClock::file(start);
        for (pts, expected) in [(Some(0), 0), (Some(40), 40), (None, 80), (None, 120), (Some(500), 500)] {
            let read = clock.read(&sample(pts, None), Instant::now());
            assert_eq!(read, (start + Duration::from_millis(expected), Clock::File));
        }
        assert_eq!(clock.end(), Some(start + Duration::from_millis(500)));
    }
}
