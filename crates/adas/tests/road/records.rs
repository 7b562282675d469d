//! Late, early and hostile records.

use std::time::Duration;

use lookout_adas::{EgoCamera, Outcome};
use lookout_schema::{AlertState, Clock, Detection, Epoch, FrameRecord, SessionId, Size, Timestamp};
use proptest::prelude::*;

use crate::world::{Other, Scene, drawn, frame, start_time, vehicle};

fn approach() -> Vec<FrameRecord> {
    Scene::new(3, vec![Other::coming("car", 5.0, 12.0, [0.0, 0.0])]).frames()
}

/// Processes records, each 50 ms after its capture, up to the first alert. Returns the remaining records.
fn until_raised(vehicle: &mut EgoCamera) -> Vec<FrameRecord> {
    let mut frames = approach().into_iter();
    for frame in frames.by_ref() {
        let now = frame.captured_at + Duration::from_millis(50);
        if !vehicle.process(frame, now).alerts.is_empty() {
            return frames.collect();
        }
    }
    panic!("no alert was raised");
}

#[test]
fn stale_records_raise_no_alert_but_update_tracks() {
    let mut vehicle = vehicle(drawn());
    for frame in approach().into_iter().take(40) {
        let now = frame.captured_at + Duration::from_millis(400);
        let result = vehicle.process(frame, now);
        assert_eq!(result.outcome, Outcome::Stale);
        assert!(result.alerts.is_empty());
    }
    // The objects of stale records are still tracked.
    assert!(vehicle.seen().next().is_some_and(|seen| seen.closing.is_some()));
}

#[test]
fn clears_alerts_when_records_become_stale_or_stop() {
    let mut growing_old = vehicle(drawn());
    let rest = until_raised(&mut growing_old);
    let mut alerts = Vec::new();
    for (i, frame) in rest.into_iter().take(10).enumerate() {
        let now = frame.captured_at + Duration::from_millis(350);
        alerts.extend(growing_old.process(frame, now).alerts.into_iter().map(|alert| (i, alert)));
    }
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    let (i, alert) = &alerts[0];
    assert_eq!(alert.state, AlertState::Cleared);
    assert!((2..8).contains(i) && alert.message.contains("too old for warnings"), "{i} {alert:?}");

    let mut silent = vehicle(drawn());
    let rest = until_raised(&mut silent);
    let last = rest[0].captured_at;
    assert!(silent.tick(last).is_empty());
    let alerts = silent.tick(last + Duration::from_secs(1));
    assert!(alerts.len() == 1 && alerts[0].message.contains("no more records are received"), "{alerts:?}");
    assert!(silent.tick(last + Duration::from_secs(2)).is_empty());
}

#[test]
fn ignores_records_from_the_future() {
    let mut vehicle = vehicle(drawn());
    for frame in approach() {
        let now = Timestamp::from_unix_us(frame.captured_at.as_unix_us() - 10_000_000);
        assert_eq!(vehicle.process(frame, now).outcome, Outcome::Future);
    }
    assert_eq!(vehicle.seen().count(), 0);
}

#[test]
fn age_of_file_records_is_measured_from_their_publication() {
    let mut vehicle = vehicle(drawn());
    let mut raised = 0;
    for mut frame in approach() {
        let now = frame.published_at + Duration::from_millis(50);
        frame.clock = Clock::File;
        frame.captured_at = Timestamp::from_unix_us(0);
        let result = vehicle.process(frame, now);
        assert_eq!(result.outcome, Outcome::Accepted);
        raised += result.alerts.iter().filter(|alert| alert.state == AlertState::Raised).count();
    }
    assert_eq!(raised, 1);
}

#[test]
fn ignores_stale_epochs_and_duplicates_and_clears_at_a_new_session() {
    let mut vehicle = vehicle(drawn());
    let rest = until_raised(&mut vehicle);
    let now = rest[0].captured_at;
    let mut old = rest[0].clone();
    old.epoch = Epoch(0);
    assert_eq!(vehicle.process(old, now).outcome, Outcome::StaleEpoch);
    // Session ids are ordered by creation time, except within the same millisecond.
    let later = std::iter::repeat_with(SessionId::generate).find(|session| *session > rest[0].session);
    let new_session = frame(later.unwrap(), 0, Vec::new());
    let result = vehicle.process(new_session, start_time());
    assert!(result.alerts.len() == 1 && result.alerts[0].message.contains("reconnected"), "{result:?}");
    assert_eq!(vehicle.open_alerts(), 0);
    assert_eq!(vehicle.process(rest[0].clone(), now).outcome, Outcome::Duplicate);
}

#[test]
fn clears_open_alerts_on_finish() {
    let mut vehicle = vehicle(drawn());
    let rest = until_raised(&mut vehicle);
    let (alerts, tracks) = vehicle.finish(rest[0].captured_at);
    assert!(alerts.len() == 1 && alerts[0].message.contains("no longer processes the camera"), "{alerts:?}");
    assert_eq!(tracks.len(), 1);
    assert_eq!(vehicle.open_alerts(), 0);
}

#[test]
fn ignores_objects_with_other_labels() {
    let mut vehicle = vehicle(drawn());
    for mut frame in approach() {
        for seen in &mut frame.detections {
            seen.label = "<script>alert(1)</script>".into();
        }
        let now = frame.captured_at;
        let result = vehicle.process(frame, now);
        assert!(result.alerts.is_empty() && result.tracks.is_empty());
    }
}

fn side() -> impl Strategy<Value = f32> {
    prop_oneof![-1e4_f32..1e4, any::<f32>()]
}

fn hostile() -> impl Strategy<Value = (FrameRecord, i64)> {
    let detection = (prop::array::uniform4(side()), side(), 0_u32..3).prop_map(|(bbox, score, class_id)| {
        Detection { class_id, label: "car".into(), score, bbox: bbox.into(), classes: Vec::new() }
    });
    let times = (any::<i64>(), any::<i64>(), any::<Option<u64>>());
    let sizes = (any::<u32>(), any::<u32>(), any::<u64>());
    (prop::collection::vec(detection, 0..20), times, sizes, -1_000_i64..1_000).prop_map(
        |(detections, (captured, published, pts_ns), (width, height, seq), age_ms)| {
            let mut record = frame(SessionId::generate(), seq % 1000, detections);
            record.source = Size { width, height };
            record.pts_ns = pts_ns;
            record.captured_at = Timestamp::from_unix_us(captured);
            record.published_at = Timestamp::from_unix_us(published);
            (record, age_ms)
        },
    )
}

proptest! {
    /// Values outside the valid range are rejected before a record gets here.
    #[test]
    fn hostile_records_yield_only_valid_alerts(records in prop::collection::vec(hostile(), 1..30), same in any::<bool>()) {
        let mut vehicle = vehicle(drawn());
        let session = SessionId::generate();
        for (i, (mut record, age_ms)) in records.into_iter().enumerate() {
            if same {
                record.session = session;
                record.seq = i as u64;
            }
            let now = Timestamp::from_unix_us(record.published_at.as_unix_us().saturating_add(age_ms * 1000));
            let result = vehicle.process(record, now);
            for alert in &result.alerts {
                prop_assert!(alert.check().is_ok(), "{alert:?}");
            }
        }
    }
}

#[test]
fn a_slow_stream_time_raises_no_false_alert() {
    // The object is 6 s away when it is first seen, and 3.5 s at the end; by the stream time it seems three
    // times as near.
    let mut scene = Scene::new(3, vec![Other::coming("car", 6.0, 12.0, [0.0, 0.0])]);
    scene.seconds = 2.5;
    let mut vehicle = vehicle(drawn());
    let (mut doubts, mut raised) = (Vec::new(), Vec::new());
    let mut last = None;
    for mut frame in scene.frames() {
        frame.pts_ns = Some(frame.seq * 1_000_000_000 / 10 / 3);
        let now = frame.captured_at + Duration::from_millis(80);
        let result = vehicle.process(frame, now);
        doubts.extend(result.doubt);
        raised.extend(result.alerts);
        last = vehicle.seen().find_map(|seen| seen.closing).and_then(|closing| closing.ttc_s).or(last);
    }
    assert_eq!(doubts, [Some(lookout_track::TimestampConflict::Stream)]);
    assert!(raised.is_empty(), "{raised:?}");
    assert!(last.is_some_and(|seconds| seconds > 2.7), "{last:?}");
}
