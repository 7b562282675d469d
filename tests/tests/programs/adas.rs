//! `lookout adas`: warnings from frame records, with several consumers and with hostile records.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use lookout_broker::{Embedded, KafkaSink, ReadFrom, ReadRecord, ReaderOptions, RecordReader};
use lookout_config::KafkaSettings;
use lookout_schema::{
    AlertEvidence, AlertRecord, AlertState, BBox, RecordKind, Timestamp, TrackEvent, TrackRecord,
};
use lookout_tests::{
    adas::{Adas, ForwardCamera, approach, car_ahead, forward_cameras, idle_until},
    isolation::lock_module,
    kafka::KafkaServer,
    program::{embedded, run},
};

const PATIENCE: Duration = Duration::from_secs(600);

/// The records received so far.
#[derive(Debug, Default)]
struct Received {
    alerts: Vec<AlertRecord>,
    tracks: Vec<TrackRecord>,
}

/// Reads records until `enough` is true.
async fn received(kafka: &KafkaSettings, enough: impl Fn(&Received) -> bool) -> Received {
    let kinds = vec![RecordKind::Alert, RecordKind::Track];
    let options = ReaderOptions { from: ReadFrom::Beginning, kinds, ..ReaderOptions::default() };
    let mut reader = RecordReader::open(kafka, &options).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut received = Received::default();
    while !enough(&received) {
        match tokio::time::timeout_at(deadline.into(), reader.next()).await {
            Ok(Ok(Some(ReadRecord::Alert(alert)))) => received.alerts.push(*alert),
            Ok(Ok(Some(ReadRecord::Track(track)))) => received.tracks.push(*track),
            Ok(other) => panic!("{other:?}"),
            Err(_) => panic!("not in time: {received:#?}"),
        }
    }
    received
}

fn raised(received: &Received) -> BTreeMap<&str, usize> {
    let mut raised = BTreeMap::new();
    for alert in received.alerts.iter().filter(|alert| alert.state == AlertState::Raised) {
        *raised.entry(alert.camera.as_ref().unwrap().as_str()).or_default() += 1;
    }
    raised
}

fn last_states(received: &Received) -> Vec<AlertState> {
    let last: BTreeMap<&str, AlertState> = received.alerts.iter().map(|a| (a.id.as_str(), a.state)).collect();
    last.into_values().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_of_an_approaching_car_with_evidence_and_counts_hostile_records() {
    let _module = lock_module(module_path!());
    let buffer_records = const { NonZeroUsize::new(10_000).unwrap() };
    let settings = KafkaSettings { buffer_records, ..embedded("127.0.0.1:1") };
    let cluster = Embedded::start(&settings).unwrap();
    let kafka = cluster.settings();
    let sink = KafkaSink::start(kafka).unwrap();
    let adas = Adas::start(cluster.bootstrap(), "lookout").unwrap();
    let mut cameras = forward_cameras(1).unwrap();
    let accepted = || adas.number("lookout_adas_records_total{outcome=\"accepted\"}") > 0;
    idle_until(&sink, &mut cameras, PATIENCE, accepted).await.unwrap();
    hostile(&sink, &adas).await;

    approach(&sink, &mut cameras, 8.0).await;
    let received =
        received(kafka, |received| received.alerts.iter().any(|a| a.state == AlertState::Cleared)).await;
    let states: Vec<_> =
        received.alerts.iter().map(|a| (a.version, a.state.as_str(), a.level.as_str())).collect();
    assert_eq!(
        states,
        [(1, "raised", "warning"), (2, "changed", "critical"), (3, "cleared", "critical")],
        "{received:#?}"
    );
    let first = &received.alerts[0];
    let AlertEvidence::Collision(evidence) = &first.evidence else { panic!("{first:?}") };
    assert!((1.6..2.8).contains(&evidence.ttc_s) && evidence.ttc_low_s < evidence.ttc_s, "{evidence:?}");
    assert!((first.age_ms, evidence.observed_s) > (-1, 0.5) && first.age_ms < 300, "{first:?}");
    let (distance, closing) = (evidence.distance_m.unwrap(), evidence.closing_speed_m_s.unwrap());
    assert!((distance / closing / evidence.ttc_s - 1.0).abs() < 0.3, "{evidence:?}");
    let of_it = |track: &&TrackRecord| {
        track.session == first.frame.unwrap().session && track.id == evidence.object.id
    };
    let track = received.tracks.iter().find(of_it).unwrap();
    assert_eq!((track.event, track.tracker.as_str()), (TrackEvent::New, "adas"));
    // The ignored cameras raised no alerts.
    assert_eq!(raised(&received), BTreeMap::from([("front-0", 1)]));
    assert_eq!(adas.page("/healthz").unwrap(), "ok\n");
    assert_eq!(adas.stop(PATIENCE).unwrap(), Some(0));
}

/// Publishes records that no worker would write, and checks that they are counted.
async fn hostile(sink: &KafkaSink, adas: &Adas) {
    let mut camera = ForwardCamera::new("hostile").unwrap();
    let mut publish = |change: &dyn Fn(&mut lookout_schema::FrameRecord)| {
        let mut record = camera.record(vec![car_ahead(20.0)]);
        change(&mut record);
        camera.publish(sink, &record);
    };
    publish(&|record| record.detections[0].score = f32::NAN);
    publish(&|record| record.detections[0].bbox = BBox::from([0.0, 0.0, 1e9, 1e9]));
    publish(&|record| record.detections[0].label = "<b>".repeat(100_000));
    publish(&|record| record.schema = "lookout.frame/2".into());
    publish(&|record| record.source.width = 0);
    publish(&|record| record.captured_at = "9999-01-01T00:00:00Z".parse().unwrap());
    publish(&|record| record.published_at = Timestamp::now() + Duration::from_secs(60));
    publish(&|record| record.captured_at = Timestamp::from_unix_us(i64::MIN));
    publish(&|record| record.detections[0].label = "<script>alert(1)</script>".into());
    for (outcome, records) in [("unreadable", 5), ("future", 2), ("stale", 1)] {
        let name = format!("lookout_adas_records_total{{outcome=\"{outcome}\"}}");
        let deadline = Instant::now() + PATIENCE;
        while adas.number(&name) != records {
            assert!(Instant::now() < deadline, "{outcome}: {}\n{}", adas.number(&name), adas.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_share_the_cameras_and_hand_them_over_at_a_stop() {
    let _module = lock_module(module_path!());
    let server = KafkaServer::start().unwrap();
    let kafka = server.settings("vans");
    let sink = KafkaSink::start(&kafka).unwrap();
    let mut cameras = forward_cameras(8).unwrap();
    let one = Adas::start(&server.bootstrap(), "vans").unwrap();
    let partitions = |adas: &Adas| adas.number("lookout_adas_partitions");
    idle_until(&sink, &mut cameras, PATIENCE, || partitions(&one) == 3).await.unwrap();
    let two = Adas::start(&server.bootstrap(), "vans").unwrap();
    let watched = |adas: &Adas| adas.number("lookout_adas_cameras");
    let shared = || partitions(&one) + partitions(&two) == 3 && partitions(&two) > 0;
    idle_until(&sink, &mut cameras, PATIENCE, || shared() && watched(&one) + watched(&two) == 8)
        .await
        .unwrap();
    assert!(watched(&one) > 0 && watched(&two) > 0, "{} {}", watched(&one), watched(&two));

    cameras.iter_mut().for_each(ForwardCamera::reconnect);
    approach(&sink, &mut cameras, 15.0).await;
    // Each camera has one consumer. A consumer that stops clears its open alerts.
    assert_eq!(one.stop(PATIENCE).unwrap(), Some(0));
    let all_clear = |received: &Received| {
        raised(received).len() == 8 && last_states(received).iter().all(|state| *state == AlertState::Cleared)
    };
    let first = received(&kafka, all_clear).await;
    assert_eq!(raised(&first).values().sum::<usize>(), 8, "{first:#?}");
    let handed_on =
        first.alerts.iter().filter(|alert| alert.message.contains("no longer processes the camera"));
    assert!(handed_on.count() > 0, "{first:#?}");

    idle_until(&sink, &mut cameras, PATIENCE, || watched(&two) == 8).await.unwrap();
    assert_eq!(partitions(&two), 3);
    cameras.iter_mut().for_each(ForwardCamera::reconnect);
    approach(&sink, &mut cameras, 15.0).await;
    let second = received(&kafka, |received| raised(received).values().sum::<usize>() == 16).await;
    assert!(raised(&second).values().all(|raised| *raised == 2), "{second:#?}");
    assert_eq!(two.stop(PATIENCE).unwrap(), Some(0));
}

#[test]
fn check_reports_all_errors_of_a_file_and_accepts_a_valid_one() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("adas.toml");
    let path = file.to_str().unwrap();
    fs::write(&file, "[adas]\nlatency = 3\n[[camera]]\nid = \"a b\"\nwarn_ttc_s = 0\n").unwrap();
    for verb in ["check", "adas"] {
        let output = run(&[verb, path]).unwrap();
        let words = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), words.lines().count()), (Some(2), 3), "{verb}: {words}");
        assert!(
            words.contains(":2: adas.latency: unknown key") && words.contains(":4: camera[0].id: "),
            "{words}"
        );
    }
    fs::write(&file, "[adas]\n[[camera]]\nid = \"*\"\n").unwrap();
    let output = run(&["check", path]).unwrap();
    let words = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && words.contains("valid adas file for all cameras"), "{words}");
    let output = run(&["adas", path]).unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && words.contains("`--brokers`"), "{words}");
}
