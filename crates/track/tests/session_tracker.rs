//! The session tracker: sessions, changes of owner, and the published track records.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use lookout_schema::{
    Clock, Detection, Epoch, FrameRecord, ModelInfo, Region, SessionId, Size, Timestamp, TimingUs,
    TrackEvent, TrackerAlgorithm,
};
use lookout_track::{IgnoreCause, SessionTracker, SessionTrackerState, TimestampConflict, TrackerSettings};

const SESSIONS: [&str; 2] = ["01JDFY9M4K8Z6Q2W3X5V7T9R1P", "01JDFZ9M4K8Z6Q2W3X5V7T9R1P"];

fn session(which: usize) -> SessionId {
    serde_json::from_str(&format!("\"{}\"", SESSIONS[which])).unwrap()
}

/// Returns a frame of a 10 frames/s stream with one person whose foot is at `foot`, as fractions of the
/// image.
fn frame(which: usize, seq: u64, foot: Option<[f32; 2]>) -> FrameRecord {
    let at = Timestamp::from_unix_us(1_795_507_200_000_000 + seq as i64 * 100_000);
    let detection = |[x, y]: [f32; 2]| {
        let (x, y) = (x * 1000.0, y * 1000.0);
        let bbox = [x - 40.0, y - 200.0, x + 40.0, y].into();
        Detection { class_id: 1, label: "person".into(), score: 0.9, bbox, classes: Vec::new() }
    };
    FrameRecord {
        schema: FrameRecord::SCHEMA.into(),
        camera: "gate".parse().unwrap(),
        worker: "edge-1".parse().unwrap(),
        epoch: Epoch(3),
        session: session(which),
        seq,
        pts_ns: Some(seq * 100_000_000),
        captured_at: at,
        clock: Clock::Arrival,
        published_at: at,
        age_ms: 0,
        timing_us: TimingUs::default(),
        source: Size { width: 1000, height: 1000 },
        model: ModelInfo { arch: "x".into(), weights: "random:0".into(), precision: "fp32".into() },
        classifier: None,
        dropped_before: BTreeMap::new(),
        detections: foot.map(detection).into_iter().collect(),
        classes: Vec::new(),
    }
}

fn session_tracker() -> SessionTracker {
    SessionTracker::new("monitor", TrackerSettings::default())
}

#[test]
fn emits_records_at_the_start_once_per_second_and_at_the_end() {
    let mut session_tracker = session_tracker();
    let mut records = Vec::new();
    for seq in 0..60 {
        let foot = (1..26).contains(&seq).then_some([0.2 + seq as f32 * 0.01, 0.5]);
        records.extend(session_tracker.process(&frame(0, seq, foot)).unwrap().records);
    }
    let events: Vec<_> = records.iter().map(|record| (record.event.as_str(), record.seq)).collect();
    assert_eq!(events[..3], [("new", 3), ("update", 13), ("update", 24)]);
    assert_eq!(events.last().unwrap().0, "end");
    let last = records.last().unwrap();
    assert_eq!((last.id, last.hits, last.label.as_str()), (1, 25, "person"));
    let first_seen_us = last.first_seen_at.as_unix_us() - frame(0, 1, None).captured_at.as_unix_us();
    assert!(first_seen_us.abs() <= 1, "{first_seen_us}");
    assert_eq!(last.last_seen_at, frame(0, 25, None).captured_at);
    assert!(records.iter().all(|record| record.check().is_ok()));
    assert_eq!(session_tracker.objects().count(), 0);
}

#[test]
fn a_new_session_ends_tracks_and_old_records_are_rejected() {
    let mut session_tracker = session_tracker();
    let standing = Some([0.5, 0.5]);
    for seq in 0..5 {
        session_tracker.process(&frame(0, seq, standing)).unwrap();
    }
    assert_eq!(session_tracker.process(&frame(0, 4, standing)), Err(IgnoreCause::Duplicate));
    let tracked = session_tracker.process(&frame(1, 0, standing)).unwrap();
    let events: Vec<_> = tracked.records.iter().map(|record| (record.event, record.session)).collect();
    assert_eq!(events, [(TrackEvent::End, session(0))]);
    assert!(tracked.restarted);
    assert_eq!(session_tracker.process(&frame(0, 9, standing)), Err(IgnoreCause::Duplicate));
    let mut old = frame(1, 7, standing);
    old.epoch = Epoch(2);
    assert_eq!(session_tracker.process(&old), Err(IgnoreCause::StaleEpoch));
    // A session of another owner may have any id.
    let mut taken_over = frame(0, 0, standing);
    taken_over.epoch = Epoch(4);
    assert!(session_tracker.process(&taken_over).unwrap().restarted);
}

#[test]
fn emits_zones_and_crossings_with_tracks() {
    let mut session_tracker = session_tracker();
    let zone = Region::new(vec![[0.4, 0.0], [0.6, 0.0], [0.6, 1.0], [0.4, 1.0]]).unwrap();
    let zones = BTreeMap::from([("door".to_owned(), zone)]);
    let lines = BTreeMap::from([("kerb".to_owned(), [[0.5, 0.0], [0.5, 1.0]])]);
    session_tracker.set_places(&zones, &lines);
    let (mut crossings, mut visits, mut records) = (Vec::new(), Vec::new(), Vec::new());
    for seq in 0..60 {
        // A restart with the same zones and lines changes nothing.
        let saved = serde_json::to_string(&session_tracker.state()).unwrap();
        session_tracker = SessionTracker::resume(
            "monitor",
            TrackerSettings::default(),
            serde_json::from_str(&saved).unwrap(),
        );
        session_tracker.set_places(&zones, &lines);
        let tracked = session_tracker.process(&frame(0, seq, Some([0.2 + seq as f32 * 0.01, 0.5]))).unwrap();
        crossings.extend(tracked.crossings);
        visits.extend(tracked.visits);
        records.extend(tracked.records);
    }
    assert_eq!(crossings.len(), 1, "{crossings:?}");
    assert_eq!(visits.len(), 1, "{visits:?}");
    assert!((visits[0].1.dwell_s() - 2.0).abs() < 0.3, "{visits:?}");
    let crossed: Vec<_> = records.iter().flat_map(|record| &record.crossed).collect();
    // From left to right in the image, which is right to left for a line that runs downwards.
    assert_eq!(crossed.len(), 1);
    assert_eq!(serde_json::to_value(crossed[0]).unwrap()["direction"], "right_to_left");
    let longest =
        records.iter().flat_map(|record| &record.zones).map(|stay| stay.dwell_s).fold(0.0, f64::max);
    assert!((1.0..2.3).contains(&longest), "{longest}");
}

#[test]
fn a_step_of_the_cameras_clock_keeps_tracks() {
    let mut session_tracker = session_tracker();
    let mut ids = Vec::new();
    for seq in 0..20 {
        let mut frame = frame(0, seq, Some([0.2 + seq as f32 * 0.02, 0.5]));
        if seq >= 10 {
            frame.captured_at = frame.captured_at + std::time::Duration::from_secs(3600);
        }
        ids.extend(session_tracker.process(&frame).unwrap().tracks.iter().map(|track| track.id.0));
    }
    assert!(ids.iter().all(|id| *id == 1) && ids.len() == 18, "{ids:?}");
}

/// A tracker that lost its state, such as that of `lookout adas`, starts in the middle of a session.
#[test]
fn ids_are_unique_across_restarts() {
    let mut ids = std::collections::BTreeSet::new();
    for start in [0, 3, 6, 9] {
        let mut session_tracker = session_tracker();
        let frames = (start..start + 3).map(|seq| frame(0, seq, Some([0.5, 0.5])));
        let last = frames.map(|frame| session_tracker.process(&frame).unwrap()).last().unwrap();
        assert!(last.tracks.iter().all(|track| ids.insert(track.id)), "{:?} of {ids:?}", last.tracks);
    }
    assert_eq!(ids.len(), 4);
}

#[test]
fn another_algorithm_ends_the_tracks_of_the_former_one() {
    let mut session_tracker = session_tracker();
    for seq in 0..5 {
        session_tracker.process(&frame(0, seq, Some([0.5, 0.5]))).unwrap();
    }
    let mut saved = serde_json::to_value(session_tracker.state()).unwrap();
    let sort = TrackerSettings { algorithm: TrackerAlgorithm::Sort, ..TrackerSettings::default() };
    let other = serde_json::json!({ "objects": [], "told": 1 });
    for (settings, tracker) in [(sort, None), (TrackerSettings::default(), Some(other))] {
        if let Some(tracker) = tracker {
            saved["session"]["tracker"] = tracker;
        }
        let state = serde_json::from_value(saved.clone()).unwrap();
        let mut session_tracker = SessionTracker::resume("monitor", settings, state);
        let tracked = session_tracker.process(&frame(0, 5, Some([0.5, 0.5]))).unwrap();
        assert_eq!(tracked.records.first().unwrap().event, TrackEvent::End);
        assert!(tracked.restarted && tracked.tracks.iter().all(|track| track.id.0 > 512));
    }
}

/// Returns frames at 10 frames/s whose stream time, capture time and publish time run at these rates.
fn paced(clock: Clock, [stream, captured, published]: [f64; 3]) -> impl Iterator<Item = FrameRecord> {
    (0..100).map(move |seq| {
        let at = |pace: f64| {
            Timestamp::from_unix_us(1_795_507_200_000_000 + (seq as f64 * pace * 100_000.0) as i64)
        };
        FrameRecord {
            pts_ns: Some((seq as f64 * stream * 1e8) as u64),
            captured_at: at(captured),
            published_at: at(published),
            clock,
            ..frame(0, seq, Some([0.5, 0.5]))
        }
    })
}

/// Returns the session's time after the last frame minus that at the 30th, and each change of the distrusted
/// time.
fn times_and_conflicts(frames: impl Iterator<Item = FrameRecord>) -> (f64, Vec<Option<TimestampConflict>>) {
    let mut session_tracker = session_tracker();
    let (mut times, mut doubts) = (Vec::new(), Vec::new());
    for frame in frames {
        let tracked = session_tracker.process(&frame).unwrap();
        times.push(tracked.at_s);
        doubts.extend(tracked.doubt);
    }
    assert!(times.is_sorted(), "{times:?}");
    (times[99] - times[30], doubts)
}

#[test]
fn distrusts_a_stream_time_that_disagrees_with_the_other_clocks() {
    for (clock, pace) in
        [(Clock::Rtcp, 1.0 / 3.0), (Clock::Arrival, 3.0), (Clock::File, 1.0 / 3.0), (Clock::Rtcp, 0.0)]
    {
        let (passed, doubts) = times_and_conflicts(paced(clock, [pace, 1.0, 1.0]));
        assert_eq!(doubts, [Some(TimestampConflict::Stream)], "{clock:?} {pace}");
        assert!((passed - 6.9).abs() < 1e-6, "{clock:?} {pace}: {passed}");
    }
}

#[test]
fn distrusts_a_capture_time_that_disagrees_with_the_other_clocks() {
    for (clock, pace) in [(Clock::Rtcp, 1.0 / 3.0), (Clock::Rtcp, 3.0), (Clock::File, 0.0)] {
        let (passed, doubts) = times_and_conflicts(paced(clock, [1.0, pace, 1.0]));
        assert_eq!(doubts, [Some(TimestampConflict::Captured)], "{clock:?} {pace}");
        assert!((passed - 6.9).abs() < 1e-6, "{clock:?} {pace}: {passed}");
    }
}

#[test]
fn trusts_clocks_that_agree_despite_single_disturbances() {
    assert_eq!(times_and_conflicts(paced(Clock::Rtcp, [1.0, 1.0, 1.0])).1, []);
    // A file is read as fast as possible.
    assert_eq!(times_and_conflicts(paced(Clock::File, [1.0, 1.0, 0.1])).1, []);
    // The wall clock is set, and set back at each key frame; frames arrive late and then in a burst.
    let moved = |by_s: fn(u64) -> f64| {
        paced(Clock::Arrival, [1.0, 1.0, 1.0]).map(move |frame| {
            let by = std::time::Duration::from_secs_f64(by_s(frame.seq));
            FrameRecord { captured_at: frame.captured_at + by, ..frame }
        })
    };
    for by_s in [
        |seq| if seq >= 40 { 300.0 } else { 0.0 },
        |seq| if seq % 20 == 0 { 300.0 } else { 0.0 },
        |seq| if (40..52).contains(&seq) { (52 - seq) as f64 * 0.1 } else { 0.0 },
    ] {
        let (passed, doubts) = times_and_conflicts(moved(by_s));
        assert_eq!(doubts, []);
        assert!((passed - 6.9).abs() < 1e-6, "{passed}");
    }
}

#[test]
fn distrust_survives_restarts_and_sessions_until_the_clock_recovers() {
    let broken = paced(Clock::Rtcp, [1.0 / 3.0, 1.0, 1.0]).take(40);
    let mut session_tracker = session_tracker();
    for frame in broken {
        session_tracker.process(&frame).unwrap();
    }
    let state: SessionTrackerState =
        serde_json::from_str(&serde_json::to_string(&session_tracker.state()).unwrap()).unwrap();
    let mut session_tracker = SessionTracker::resume("monitor", TrackerSettings::default(), state);
    let mut times = Vec::new();
    let mut doubts = Vec::new();
    for (seq, mut frame) in paced(Clock::Rtcp, [1.0, 1.0, 1.0]).enumerate() {
        (frame.session, frame.captured_at) =
            (session(1), frame.captured_at + std::time::Duration::from_secs(60));
        frame.published_at = frame.captured_at;
        let tracked = session_tracker.process(&frame).unwrap();
        assert_eq!(tracked.restarted, seq == 0, "no track is lost when the clocks agree");
        times.push(tracked.at_s);
        doubts.extend(tracked.doubt);
    }
    assert_eq!(doubts, [None]);
    assert!((times[99] - 9.9).abs() < 1e-6, "{times:?}");
}
