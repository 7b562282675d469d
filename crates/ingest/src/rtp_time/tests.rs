use std::time::Duration;

use proptest::prelude::*;

use super::*;

const RATE: u32 = 90_000;
const FRAME: u32 = RATE / 25;
const FRAME_NS: u64 = 40_000_000;

/// A camera at 25 frames/s whose clock differs from the local clock by `offset_ms`.
struct Camera {
    times: Arc<RtpTime>,
    start: Timestamp,
    offset_ms: i64,
    /// The RTP timestamp of frame 0.
    rtp: u32,
    ssrc: u32,
}

impl Camera {
    fn new(offset_ms: i64) -> Self {
        let times = RtpTime::new("cam".parse().unwrap());
        Self {
            times,
            start: Timestamp::from_unix_us(1_800_000_000_000_000),
            offset_ms,
            rtp: 123_456,
            ssrc: 7,
        }
    }

    fn arrival(&self, frame: u64) -> Timestamp {
        self.start + Duration::from_nanos(frame * FRAME_NS)
    }

    /// Returns the time of `frame` by the camera's clock.
    fn time(&self, frame: u64) -> Timestamp {
        Timestamp::from_unix_us(self.arrival(frame).as_unix_us() + self.offset_ms * 1_000)
    }

    fn timestamp(&self, frame: u64) -> u32 {
        self.rtp.wrapping_add(FRAME.wrapping_mul(frame as u32))
    }

    fn send(&self, frame: u64) {
        let (ssrc, timestamp) = (self.ssrc, self.timestamp(frame));
        self.times.packet(RtpPacket { ssrc, timestamp, pts: Some(frame * FRAME_NS) });
    }

    fn report(&self, frame: u64) {
        let report =
            SenderReport { ssrc: self.ssrc, timestamp: self.timestamp(frame), wall: Some(self.time(frame)) };
        self.times.sender_report(report, self.arrival(frame));
    }

    fn read(&self, frame: u64) -> Option<CameraTime> {
        self.times.read(Some(frame * FRAME_NS))
    }

    /// Sends `frames`, with a report before every 25th frame, and returns the frames' times.
    fn play(&self, frames: std::ops::Range<u64>) -> Vec<Option<CameraTime>> {
        let play = |frame| {
            if frame % 25 == 0 {
                self.report(frame);
            }
            self.send(frame);
            self.read(frame)
        };
        frames.map(play).collect()
    }
}

fn assert_dated(camera: &Camera, times: &[Option<CameraTime>], first: u64) {
    for (i, time) in times.iter().enumerate() {
        let frame = first + i as u64;
        let time = time.unwrap_or_else(|| panic!("frame {frame} has no time"));
        assert!(time.time.ms_since(camera.time(frame)).abs() <= 1, "frame {frame}: {time:?}");
    }
}

#[test]
fn all_frames_are_dated_by_sender_reports() {
    let camera = Camera::new(-300_000);
    let times = camera.play(0..200);
    assert_dated(&camera, &times, 0);
    assert!(times.iter().all(|time| time.unwrap().generation == 1));
}

#[test]
fn a_sender_report_between_two_frames_is_used() {
    let camera = Camera::new(50);
    camera.send(0);
    assert_eq!(camera.read(0), None);
    let wall = Some(camera.time(0) + Duration::from_millis(10));
    let report = SenderReport { ssrc: camera.ssrc, timestamp: camera.timestamp(0) + 900, wall };
    camera.times.sender_report(report, camera.arrival(1));
    camera.send(1);
    assert_dated(&camera, &[camera.read(0), camera.read(1)], 0);
}

#[test]
fn no_frame_is_dated_by_a_missing_or_unset_clock() {
    for wall in [None, Some(Timestamp::from_unix_us(0)), Some(Timestamp::from_unix_us(2_700_000_000_000_000))]
    {
        let camera = Camera::new(0);
        let report = SenderReport { ssrc: camera.ssrc, timestamp: camera.timestamp(0), wall };
        camera.times.sender_report(report, camera.arrival(0));
        camera.send(0);
        assert_eq!(camera.read(0), None, "{wall:?}");
    }
}

#[test]
fn a_jump_of_rtp_timestamps_or_a_new_ssrc_does_not_change_capture_times() {
    for (rtp, ssrc) in
        [(123_456 + 100 * RATE, 7), (0, 7), (4_000_000_000, 7), (123_456, 8), (1_000_000_000, 9)]
    {
        let mut camera = Camera::new(-5_000);
        let before = camera.play(0..60);
        assert_dated(&camera, &before, 0);
        (camera.rtp, camera.ssrc) = (rtp, ssrc);
        // The jump occurs between two reports.
        let after = camera.play(60..200);
        assert_dated(&camera, &after, 60);
        assert!(after.iter().all(|time| time.unwrap().generation == 1), "{rtp} {ssrc}");
    }
}

#[test]
fn a_jump_of_the_pts_alone_does_not_change_capture_times() {
    let camera = Camera::new(0);
    camera.play(0..50);
    // The jitter buffer does this after the network has stalled for 2 s.
    for frame in 50..100 {
        let pts = Some(frame * FRAME_NS + 2_000_000_000);
        camera.times.packet(RtpPacket { ssrc: camera.ssrc, timestamp: camera.timestamp(frame), pts });
        assert_dated(&camera, &[camera.times.read(pts)], frame);
    }
}

#[test]
fn a_clock_step_of_minutes_starts_one_new_generation() {
    for step in [300_000, -300_000] {
        let mut camera = Camera::new(0);
        camera.play(0..100);
        camera.offset_ms = step;
        let times: Vec<_> = camera.play(100..300).into_iter().flatten().collect();
        assert_eq!(times.len(), 200);
        let stepped = times.iter().position(|time| time.generation == 2).unwrap();
        assert_eq!(stepped, 50, "the step is accepted at the third report of the new time");
        assert!(times[..stepped].windows(2).all(|pair| pair[0].time < pair[1].time));
        assert!(times[stepped..].iter().all(|time| time.generation == 2));
        let later: Vec<_> = times[stepped..].iter().copied().map(Some).collect();
        assert_dated(&camera, &later, 150);
    }
}

#[test]
fn sender_reports_after_an_implausible_jump_are_ignored() {
    let mut camera = Camera::new(0);
    camera.play(0..100);
    camera.offset_ms = 3_600_000;
    let times = camera.play(100..400);
    camera.offset_ms = 0;
    assert_dated(&camera, &times, 100);
}

#[test]
fn contradictory_sender_reports_are_permanently_ignored() {
    let mut camera = Camera::new(0);
    camera.play(0..25);
    for (i, offset_ms) in [1_500, -900, 700, -1_800, 1_100, 0, 0, 0].into_iter().enumerate() {
        camera.offset_ms = offset_ms;
        let from = 25 * (i as u64 + 1);
        let times = camera.play(from..from + 25);
        assert_eq!(times[24].is_some(), i < 4, "{i}");
    }
}

#[test]
fn rtp_timestamps_that_disagree_with_the_clock_rate_are_not_used() {
    // Frames arrive at 15 frames/s. Their RTP timestamps either advance as for 25 frames/s, or are all the same.
    for step in [FRAME, 0] {
        let camera = Camera::new(0);
        let mut is_known = Vec::new();
        for frame in 0..300u64 {
            let timestamp = step * frame as u32;
            let now = camera.start + Duration::from_millis(frame * 1_000 / 15);
            if frame % 15 == 0 {
                let report = SenderReport { ssrc: 7, timestamp, wall: Some(now) };
                camera.times.sender_report(report, now);
            }
            let pts = frame * 1_000_000_000 / 15;
            camera.times.packet(RtpPacket { ssrc: 7, timestamp, pts: Some(pts) });
            is_known.push(camera.times.read(Some(pts)).is_some());
        }
        assert!(is_known[0] && !is_known[299]);
        let lost = is_known.iter().position(|known| !known).unwrap();
        assert!(is_known[lost..].iter().all(|known| !known));
    }
}

#[test]
fn a_compound_packet_is_searched_for_its_sender_report() {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>();
    // Half a second after 2026-01-01T00:00:00Z.
    let seconds = 2_208_988_800 + 1_767_225_600;
    let report = words(&[0x80c8_0006, 0xabcd, seconds, 0x8000_0000, 77, 3, 4]);
    let description = words(&[0x81ca_0003, 0xabcd, 0x0103_6361, 0x6d00_0000]);
    let receiver = words(&[0x80c9_0001, 0xabcd]);
    let compound = [receiver, report.clone(), description].concat();
    let expected = SenderReport {
        ssrc: 0xabcd,
        timestamp: 77,
        wall: Some(Timestamp::from_unix_us(1_767_225_600_500_000)),
    };
    assert_eq!(sender_reports(&compound).collect::<Vec<_>>(), [expected]);
    let mut without_clock = report.clone();
    without_clock[8..16].fill(0);
    assert_eq!(sender_reports(&without_clock).next().unwrap().wall, None);
    // 2036-02-07T06:28:17Z, one second after the wraparound.
    let mut wrapped = report;
    wrapped[8..16].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0]);
    let wall = sender_reports(&wrapped).next().unwrap().wall.unwrap();
    assert_eq!(wall.as_unix_us(), 2_085_978_497_000_000);
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = sender_reports(&bytes).count();
    }

    #[test]
    fn times_of_one_generation_never_decrease(
        events in prop::collection::vec((0u8..12, any::<u32>(), -400_000i64..400_000), 1..200),
    ) {
        let mut camera = Camera::new(0);
        let mut last: Option<CameraTime> = None;
        for (frame, (kind, rtp, offset_ms)) in events.into_iter().enumerate() {
            let frame = frame as u64;
            match kind {
                0 => camera.rtp = rtp,
                1 => camera.offset_ms = offset_ms,
                2 => camera.ssrc = rtp,
                3..7 => camera.report(frame),
                _ => {}
            }
            camera.send(frame);
            let now = camera.read(frame);
            if let Some((now, last)) = now.zip(last)
                && now.generation == last.generation
            {
                prop_assert!(now.time >= last.time);
            }
            last = now;
        }
    }
}
