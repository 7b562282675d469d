//! Capture times of frames, and the clock that each rests on.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use gstreamer as gst;
use gstreamer_video as video;
use lookout_schema::{Clock, Timestamp};

use crate::{
    rtp_time::RtpTime,
    wall_clock::{MAX_DRIFT_US, Observed, WallClock},
};

/// Computes the capture times of one connection's frames, which have to come in display order.
#[derive(Debug)]
pub(crate) enum CaptureClock {
    Live(LiveClock),
    File(FileClock),
}

/// A frame's capture time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Captured {
    pub(crate) at: Timestamp,
    pub(crate) clock: Clock,
    /// Whether a new session has to start because this time cannot be compared with earlier ones: the clock changed
    /// or was stepped.
    pub(crate) breaks: bool,
}

/// The times that a frame's buffer and caps state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FrameTimes {
    pub(crate) pts: Option<u64>,
    /// GStreamer's stream time: the time since the start of the stream.
    pub(crate) stream_time: Option<Duration>,
    /// As the buffer states, or else by the frame rate in the caps.
    pub(crate) duration: Option<Duration>,
}

impl FrameTimes {
    pub(crate) fn of(sample: &gst::Sample) -> Self {
        let Some(buffer) = sample.buffer() else { return Self::default() };
        let pts = buffer.pts();
        let segment = sample.segment().and_then(|segment| segment.downcast_ref::<gst::ClockTime>());
        let stream_time = pts.zip(segment).and_then(|(pts, segment)| segment.to_stream_time(pts));
        let nanos = |time: gst::ClockTime| Duration::from_nanos(time.nseconds());
        let stated = buffer.duration().filter(|duration| !duration.is_zero()).map(nanos);
        Self {
            pts: pts.map(gst::ClockTime::nseconds),
            stream_time: stream_time.map(nanos),
            duration: stated.or_else(|| Some(frame_duration(sample.caps()?))?),
        }
    }
}

/// Returns the duration of a frame by the frame rate in the caps.
fn frame_duration(caps: &gst::CapsRef) -> Option<Duration> {
    let rate = video::VideoInfo::from_caps(caps).ok()?.fps();
    let seconds = f64::from(rate.denom()) / f64::from(rate.numer());
    (rate.numer() > 0).then(|| Duration::from_secs_f64(seconds))
}

impl CaptureClock {
    /// Returns the capture time of the frame with these `times`, whose data reached this process at `arrived_at`.
    pub(crate) fn read(&mut self, times: FrameTimes, arrived_at: Instant) -> Captured {
        match self {
            Self::Live(clock) => clock.read(times.pts, arrived_at, (Instant::now(), Timestamp::now())),
            Self::File(clock) => Captured { at: clock.read(times), clock: Clock::File, breaks: false },
        }
    }

    /// Returns the capture time at which the next pass over a file starts, or None for live sources.
    pub(crate) fn end(&self) -> Option<Timestamp> {
        match self {
            Self::Live(_) => None,
            Self::File(clock) => Some(clock.end()),
        }
    }
}

/// Computes capture times by the camera's clock once its RTCP sender reports are known, and by arrival before that.
#[derive(Debug)]
pub(crate) struct LiveClock {
    reports: Arc<RtpTime>,
    /// Origin of the monotonic time scale.
    started: Instant,
    /// Maps the monotonic time scale to this machine's wall clock.
    machine: Option<WallClock>,
    last: Option<(Source, Timestamp)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Arrival,
    /// The camera's clock, with the generation of [`RtpTime`], which changes when that clock is stepped.
    Camera(u64),
}

impl LiveClock {
    pub(crate) fn new(reports: Arc<RtpTime>) -> Self {
        Self { reports, started: Instant::now(), machine: None, last: None }
    }

    fn read(&mut self, pts: Option<u64>, arrived_at: Instant, now: (Instant, Timestamp)) -> Captured {
        let steady = |at: Instant| {
            i64::try_from(at.saturating_duration_since(self.started).as_micros()).unwrap_or(i64::MAX)
        };
        let (steady_now, wall_now) = (steady(now.0), now.1.as_unix_us());
        let arrived = steady(arrived_at);
        let machine = self.machine.get_or_insert_with(|| WallClock::new(steady_now, wall_now));
        let machine_stepped = machine.observe(steady_now, wall_now, 1) == Observed::Stepped;
        let arrival = Timestamp::from_unix_us(machine.read(arrived));
        let (source, at) = match self.reports.read(pts) {
            Some(camera) => (Source::Camera(camera.generation), camera.time),
            None => (Source::Arrival, arrival),
        };
        let breaks = match self.last {
            None => false,
            Some((Source::Arrival, _)) if source == Source::Arrival => machine_stepped,
            // The change to the camera's clock keeps the session if times neither decrease nor jump.
            Some((Source::Arrival, last)) => {
                let jump = at.as_unix_us().abs_diff(arrival.as_unix_us());
                at < last || jump > MAX_DRIFT_US.unsigned_abs()
            }
            Some((before, _)) => before != source,
        };
        if breaks {
            let from = self.last.map(|(before, _)| before);
            tracing::debug!(?from, to = ?source, %at, "the clock of the frames changed, starting a new session");
        }
        self.last = Some((source, at));
        let clock = if source == Source::Arrival { Clock::Arrival } else { Clock::Rtcp };
        Captured { at, clock, breaks }
    }
}

/// Computes the capture times of a file's frames by their stream time, counted from `start`.
#[derive(Debug)]
pub(crate) struct FileClock {
    start: Timestamp,
    /// Duration of frames that state none.
    usual: Duration,
    last: Option<LastFrame>,
    /// Added to stream times, because they started over.
    shift: Duration,
}

#[derive(Debug, Clone, Copy)]
struct LastFrame {
    /// The capture time that the frame got, counted from the start.
    at: Duration,
    stated: Option<Duration>,
    duration: Duration,
}

/// A stream time that is earlier than the last one by this much or more has started over. A smaller step back is
/// disorder.
const STARTED_OVER: Duration = Duration::from_secs(1);

impl FileClock {
    /// Creates the clock of a file that starts at `start`. Its frame rate is `fps` unless the file states another.
    pub(crate) fn new(start: Timestamp, fps: f64) -> Self {
        Self { start, usual: Duration::from_secs_f64(1.0 / fps), last: None, shift: Duration::ZERO }
    }

    fn read(&mut self, times: FrameTimes) -> Timestamp {
        let FrameTimes { stream_time: stated, duration, .. } = times;
        let duration = duration.unwrap_or(self.usual);
        let at = match (self.last, stated) {
            (None, stated) => stated.unwrap_or_default(),
            (Some(last), None) => last.at + last.duration,
            // Some demuxers give all frames the same time.
            (Some(last), Some(stated)) if last.stated == Some(stated) => last.at + last.duration,
            (Some(last), Some(stated)) => {
                if last.stated.is_some_and(|before| stated + STARTED_OVER <= before) {
                    self.shift = (last.at + last.duration).saturating_sub(stated);
                }
                (stated + self.shift).max(last.at)
            }
        };
        let stated = stated.or(self.last.and_then(|last| last.stated));
        self.last = Some(LastFrame { at, stated, duration });
        self.start + at
    }

    fn end(&self) -> Timestamp {
        self.start + self.last.map(|last| last.at + last.duration).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rtp_time::{RtpPacket, SenderReport};

    const FRAME: Duration = Duration::from_millis(40);

    /// A camera whose clock differs from this machine's by `offset_ms`, at 25 frames/s.
    struct Camera {
        clock: LiveClock,
        reports: Arc<RtpTime>,
        offset_ms: i64,
        wall: Timestamp,
    }

    impl Camera {
        fn new(offset_ms: i64) -> Self {
            let reports = RtpTime::new("cam".parse().unwrap());
            let wall = Timestamp::from_unix_us(1_800_000_000_000_000);
            Self { clock: LiveClock::new(Arc::clone(&reports)), reports, offset_ms, wall }
        }

        fn report(&self, frame: u32) {
            let now = self.wall + FRAME * frame;
            let wall = Some(Timestamp::from_unix_us(now.as_unix_us() + self.offset_ms * 1_000));
            self.reports.sender_report(SenderReport { ssrc: 1, timestamp: frame * 3_600, wall }, now);
        }

        fn frame(&mut self, frame: u32) -> Captured {
            let pts = Some(u64::from(frame) * 40_000_000);
            self.reports.packet(RtpPacket { ssrc: 1, timestamp: frame * 3_600, pts });
            let at = self.clock.started + FRAME * frame;
            self.clock.read(pts, at, (at, self.wall + FRAME * frame))
        }
    }

    #[test]
    fn arrival_times_are_used_before_the_first_sender_report() {
        let mut camera = Camera::new(-300_000);
        for frame in 0..10 {
            let captured = camera.frame(frame);
            assert_eq!(captured.at, camera.wall + FRAME * frame);
            assert_eq!((captured.clock, captured.breaks), (Clock::Arrival, false));
        }
    }

    #[test]
    fn a_camera_clock_that_differs_from_arrival_starts_a_session() {
        for offset_ms in [-300_000, -60, 400, 300_000] {
            let mut camera = Camera::new(offset_ms);
            (0..10).for_each(|frame| assert!(!camera.frame(frame).breaks));
            camera.report(10);
            let captured = camera.frame(10);
            assert_eq!((captured.clock, captured.breaks), (Clock::Rtcp, true), "{offset_ms}");
            for frame in 11..500 {
                if frame % 25 == 0 {
                    camera.report(frame);
                }
                let captured = camera.frame(frame);
                assert_eq!((captured.clock, captured.breaks), (Clock::Rtcp, false), "{offset_ms}");
            }
        }
    }

    #[test]
    fn a_camera_clock_that_agrees_with_arrival_keeps_the_session() {
        for offset_ms in [-30, 0, 200] {
            let mut camera = Camera::new(offset_ms);
            camera.frame(0);
            camera.report(1);
            let captured = camera.frame(1);
            assert_eq!((captured.clock, captured.breaks), (Clock::Rtcp, false), "{offset_ms}");
        }
    }

    #[test]
    fn a_step_of_the_local_clock_starts_a_session() {
        for step in [3_600, -3_600i64] {
            let mut camera = Camera::new(0);
            let before = camera.frame(0);
            camera.wall = Timestamp::from_unix_us(camera.wall.as_unix_us() + step * 1_000_000);
            let captured = camera.frame(1);
            assert!(captured.breaks && captured.clock == Clock::Arrival);
            assert_eq!(captured.at.ms_since(before.at), step * 1_000 + 40);
            assert!(!camera.frame(2).breaks);
        }
    }

    proptest! {
        #[test]
        fn capture_times_increase_within_a_session_and_a_known_clock_is_kept(
            events in prop::collection::vec((0u8..10, -700_000i64..700_000), 1..300),
        ) {
            let mut camera = Camera::new(0);
            let mut last: Option<Captured> = None;
            for (frame, (kind, number)) in events.into_iter().enumerate() {
                let frame = frame as u32;
                match kind {
                    0 => camera.offset_ms = number,
                    1 => camera.wall = Timestamp::from_unix_us(camera.wall.as_unix_us() + number),
                    2..6 => camera.report(frame),
                    _ => {}
                }
                let now = camera.frame(frame);
                if let Some(last) = last && !now.breaks {
                    prop_assert!(now.at >= last.at);
                    prop_assert!(last.clock != Clock::Rtcp || now.clock == Clock::Rtcp);
                }
                last = Some(now);
            }
        }

        #[test]
        fn capture_times_of_a_file_never_decrease(stated in prop::collection::vec(prop::option::of(0u64..5_000), 1..200)) {
            let mut clock = FileClock::new(Timestamp::from_unix_us(0), 25.0);
            let mut last = i64::MIN;
            for ms in stated {
                let now = clock.read(stream_time(ms)).as_unix_us();
                prop_assert!(now >= last);
                last = now;
            }
            prop_assert!(clock.end().as_unix_us() > last);
        }
    }

    fn stream_time(ms: Option<u64>) -> FrameTimes {
        FrameTimes { stream_time: ms.map(Duration::from_millis), ..FrameTimes::default() }
    }

    /// Returns the capture times, in milliseconds, of a file's frames with the `stated` stream times.
    fn file_times(fps: f64, stated: &[Option<u64>], duration: Option<u64>) -> Vec<i64> {
        let mut clock = FileClock::new(Timestamp::from_unix_us(0), fps);
        let duration = duration.map(Duration::from_millis);
        let times = stated.iter().map(|ms| FrameTimes { duration, ..stream_time(*ms) });
        times.map(|times| clock.read(times).as_unix_us() / 1_000).collect()
    }

    #[test]
    fn capture_times_of_a_file_follow_its_stream_time() {
        let stated = [Some(0), Some(40), None, None, Some(500)];
        assert_eq!(file_times(10.0, &stated, Some(40)), [0, 40, 80, 120, 500]);
    }

    #[test]
    fn frames_without_timestamps_are_dated_by_the_frame_rate() {
        let unstated = [Some(0), None, None, None];
        assert_eq!(file_times(10.0, &unstated, None), [0, 100, 200, 300]);
        assert_eq!(
            file_times(10.0, &unstated, Some(40)),
            [0, 40, 80, 120],
            "by the frame rate of the stream"
        );
        assert_eq!(file_times(10.0, &[None, None, None], None), [0, 100, 200]);
    }

    #[test]
    fn frames_with_equal_timestamps_are_dated_by_the_frame_rate() {
        assert_eq!(file_times(25.0, &[Some(0); 4], Some(100)), [0, 100, 200, 300]);
    }

    #[test]
    fn capture_times_continue_when_the_stream_time_restarts() {
        let stated = [Some(0), Some(40), Some(5_000), Some(0), Some(40), Some(80)];
        assert_eq!(file_times(25.0, &stated, None), [0, 40, 5_000, 5_040, 5_080, 5_120]);
    }

    #[test]
    fn a_stream_time_that_decreases_slightly_repeats_the_last_capture_time() {
        assert_eq!(file_times(25.0, &[Some(0), Some(80), Some(40), Some(120)], None), [0, 80, 80, 120]);
    }
}
