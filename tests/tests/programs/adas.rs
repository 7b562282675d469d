//! `lookout adas`: frames in, warnings out, whoever shares the cameras and whatever the records hold.
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

/// All that was told so far.
#[derive(Debug, Default)]
struct Told {
    alerts: Vec<AlertRecord>,
    tracks: Vec<TrackRecord>,
}

/// Reads on until `enough`.
async fn told(kafka: &KafkaSettings, enough: impl Fn(&Told) -> bool) -> Told {
    let kinds = vec![RecordKind::Alert, RecordKind::Track];
    let options = ReaderOptions { from: ReadFrom::Beginning, kinds, ..ReaderOptions::default() };
    let mut reader = RecordReader::open(kafka, &options).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut told = Told::default();
    while !enough(&told) {
        match tokio::time::timeout_at(deadline.into(), reader.next()).await {
            Ok(Ok(Some(ReadRecord::Alert(alert)))) => told.alerts.push(*alert),
            Ok(Ok(Some(ReadRecord::Track(track)))) => told.tracks.push(*track),
            Ok(other) => panic!("{other:?}"),
            Err(_) => panic!("not in time: {told:#?}"),
        }
    }
    told
}

fn raised(told: &Told) -> BTreeMap<&str, usize> {
    let mut raised = BTreeMap::new();
    for alert in told.alerts.iter().filter(|alert| alert.state == AlertState::Raised) {
        *raised.entry(alert.camera.as_ref().unwrap().as_str()).or_default() += 1;
    }
    raised
}

fn last_states(told: &Told) -> Vec<AlertState> {
    let last: BTreeMap<&str, AlertState> = told.alerts.iter().map(|a| (a.id.as_str(), a.state)).collect();
    last.into_values().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_car_that_comes_is_told_with_the_evidence_and_hostile_records_are_counted() {
    let _module = lock_module(module_path!());
    let buffer_records = const { NonZeroUsize::new(10_000).unwrap() };
    let settings = KafkaSettings { buffer_records, ..embedded("127.0.0.1:1") };
    let cluster = Embedded::start(&settings).unwrap();
    let kafka = cluster.settings();
    let sink = KafkaSink::start(kafka).unwrap();
    let adas = Adas::start(cluster.bootstrap(), "lookout").unwrap();
    let mut cameras = forward_cameras(1).unwrap();
    let heard = || adas.number("lookout_adas_records_total{outcome=\"heard\"}") > 0;
    idle_until(&sink, &mut cameras, PATIENCE, heard).await.unwrap();
    hostile(&sink, &adas).await;

    approach(&sink, &mut cameras, 8.0).await;
    let told = told(kafka, |told| told.alerts.iter().any(|a| a.state == AlertState::Cleared)).await;
    let states: Vec<_> =
        told.alerts.iter().map(|a| (a.version, a.state.as_str(), a.level.as_str())).collect();
    assert_eq!(
        states,
        [(1, "raised", "warning"), (2, "changed", "critical"), (3, "cleared", "critical")],
        "{told:#?}"
    );
    let first = &told.alerts[0];
    let AlertEvidence::Collision(evidence) = &first.evidence else { panic!("{first:?}") };
    assert!((1.6..2.8).contains(&evidence.ttc_s) && evidence.ttc_low_s < evidence.ttc_s, "{evidence:?}");
    assert!((first.age_ms, evidence.watched_s) > (-1, 0.5) && first.age_ms < 300, "{first:?}");
    let (distance, closing) = (evidence.distance_m.unwrap(), evidence.closing_m_s.unwrap());
    assert!((distance / closing / evidence.ttc_s - 1.0).abs() < 0.3, "{evidence:?}");
    let of_it = |track: &&TrackRecord| {
        track.session == first.frame.unwrap().session && track.id == evidence.object.id
    };
    let track = told.tracks.iter().find(of_it).unwrap();
    assert_eq!((track.event, track.tracker.as_str()), (TrackEvent::New, "adas"));
    // Nothing was seen of the cameras that are not believed.
    assert_eq!(raised(&told), BTreeMap::from([("front-0", 1)]));
    assert_eq!(adas.page("/healthz").unwrap(), "ok\n");
    assert_eq!(adas.stop(PATIENCE).unwrap(), Some(0));
}

/// Records that no worker would write, and that are counted.
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
async fn several_share_the_cameras_and_one_that_stops_hands_them_on() {
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
    // Each is watched by one of them, and who stops in mid-alert clears what it has raised.
    assert_eq!(one.stop(PATIENCE).unwrap(), Some(0));
    let all_clear = |told: &Told| {
        raised(told).len() == 8 && last_states(told).iter().all(|state| *state == AlertState::Cleared)
    };
    let first = told(&kafka, all_clear).await;
    assert_eq!(raised(&first).values().sum::<usize>(), 8, "{first:#?}");
    let handed_on =
        first.alerts.iter().filter(|alert| alert.message.contains("no longer processes the camera"));
    assert!(handed_on.count() > 0, "{first:#?}");

    idle_until(&sink, &mut cameras, PATIENCE, || watched(&two) == 8).await.unwrap();
    assert_eq!(partitions(&two), 3);
    cameras.iter_mut().for_each(ForwardCamera::reconnect);
    approach(&sink, &mut cameras, 15.0).await;
    let second = told(&kafka, |told| raised(told).values().sum::<usize>() == 16).await;
    assert!(raised(&second).values().all(|raised| *raised == 2), "{second:#?}");
    assert_eq!(two.stop(PATIENCE).unwrap(), Some(0));
}

#[test]
fn a_wrong_file_is_told_in_full_and_a_right_one_is_what_it_is() {
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
