//! Kills and restarts `lookout monitor` on a real Kafka: every alert is published exactly once.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    f32::consts::TAU,
    time::{Duration, Instant},
};

use lookout_broker::{KafkaSink, ReadFrom, ReadRecord, ReaderOptions, RecordReader};
use lookout_config::KafkaSettings;
use lookout_schema::{AlertRecord, AlertState, Detection, RecordKind, Timestamp};
use lookout_tests::{
    adas::ForwardCamera,
    isolation::lock_module,
    kafka::KafkaServer,
    monitor::{Monitor, MonitorFiles},
};

const PATIENCE: Duration = Duration::from_secs(600);

const CAMERAS: [&str; 3] = ["gate", "yard", "dock"];

/// The interval between frames by the cameras' clocks; they are published five times as fast.
const INTERVAL: Duration = Duration::from_millis(50);
const PACE: Duration = Duration::from_millis(10);

/// Number of frames in which a person crosses the line and returns.
const WALK: u64 = 160;
/// Frames of a period in which three persons are in the zone; the period is long enough for the alert to
/// clear.
const CROWDED: std::ops::Range<u64> = 40..100;
const CROWDS: u64 = 240;
/// Number of frames after which the scene repeats, without an open alert.
const CYCLE: u64 = 480;

fn person(x: f32, foot: f32) -> Detection {
    let bbox = [x - 40.0, foot - 180.0, x + 40.0, foot].into();
    Detection { class_id: 1, label: "person".into(), score: 0.9, bbox, classes: Vec::new() }
}

/// Returns a camera's detections: a person who walks back and forth across the middle of the image, and at
/// times three persons in its corner.
fn scene(frame: u64) -> Vec<Detection> {
    let walked = (frame % WALK) as f32 / WALK as f32;
    let mut seen = vec![person(640.0 + 300.0 * (TAU * walked).cos(), 300.0)];
    if CROWDED.contains(&(frame % CROWDS)) {
        seen.extend([1000.0, 1100.0, 1200.0].map(|x| person(x, 700.0)));
    }
    seen
}

fn rules() -> String {
    let places = CAMERAS.map(|camera| {
        format!(
            "[[line]]\ncamera = \"{camera}\"\nname = \"middle\"\npoints = [[0.5, 0.0], [0.5, 0.6]]\n\
             [[zone]]\ncamera = \"{camera}\"\nname = \"corner\"\n\
             points = [[0.7, 0.8], [1.0, 0.8], [1.0, 1.0], [0.7, 1.0]]\n"
        )
    });
    "[[rule]]\nname = \"crossing\"\nkind = \"line\"\n\
     [[rule]]\nname = \"crowd\"\nkind = \"count\"\nzone = \"corner\"\nthreshold = 2\n"
        .to_owned()
        + &places.concat()
}

/// Cameras that publish independently of the monitor.
struct Street {
    sink: KafkaSink,
    cameras: Vec<ForwardCamera>,
    started: Timestamp,
    frames: u64,
}

impl Street {
    fn new(kafka: &KafkaSettings) -> Self {
        Self {
            sink: KafkaSink::start(kafka).unwrap(),
            cameras: CAMERAS.iter().map(|id| ForwardCamera::new(id).unwrap()).collect(),
            started: Timestamp::now() - Duration::from_secs(600),
            frames: 0,
        }
    }

    async fn frame(&mut self) {
        for camera in &mut self.cameras {
            let mut record = camera.record(scene(self.frames));
            record.captured_at = self.started + INTERVAL * self.frames as u32;
            camera.publish(&self.sink, &record);
        }
        self.frames += 1;
        tokio::time::sleep(PACE).await;
    }

    /// Publishes frames until the monitor has reached the state in which it is to be killed.
    async fn until(&mut self, monitor: &mut Monitor, so: impl Fn(&Monitor) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        self.frame().await;
        while !so(monitor) {
            assert!(monitor.is_running().unwrap(), "the monitor ended by itself");
            assert!(Instant::now() < deadline, "not in time");
            self.frame().await;
        }
    }

    /// Publishes frames until no alert is open.
    async fn end_cycle(&mut self) {
        while !self.frames.is_multiple_of(CYCLE) {
            self.frame().await;
        }
    }
}

/// Returns all alerts up to the end of the topic.
async fn published_alerts(kafka: &KafkaSettings) -> Vec<AlertRecord> {
    let options = ReaderOptions {
        from: ReadFrom::Beginning,
        kinds: vec![RecordKind::Alert],
        until_end: true,
        ..ReaderOptions::default()
    };
    let mut reader = RecordReader::open(kafka, &options).await.unwrap();
    let mut alerts = Vec::new();
    while let Some(record) = reader.next().await.unwrap() {
        let ReadRecord::Alert(alert) = record else { panic!("{record:?}") };
        alerts.push(*alert);
    }
    alerts
}

/// Identity of an alert record in the scene: camera, rule, state, and the number of the crossing or crowd.
type What = (String, String, &'static str, u64);

fn what(alert: &AlertRecord) -> What {
    let seq = alert.frame.unwrap().seq;
    let nth = if alert.rule == "crowd" { seq / CROWDS } else { seq / (WALK / 2) };
    (alert.camera.as_ref().unwrap().to_string(), alert.rule.clone(), alert.state.as_str(), nth)
}

/// Returns the alerts that the scene causes in its first `frames` frames.
fn expected(frames: u64) -> BTreeSet<What> {
    let (raised, cleared) = (AlertState::Raised.as_str(), AlertState::Cleared.as_str());
    let of = |camera: &str| {
        let what = |rule: &str, state, nth| (camera.to_owned(), rule.to_owned(), state, nth);
        let crossings = (0..frames / (WALK / 2)).map(|nth| what("crossing", raised, nth));
        let crowds = (0..frames / CROWDS).flat_map(|nth| [raised, cleared].map(|s| what("crowd", s, nth)));
        crossings.chain(crowds).collect::<Vec<_>>()
    };
    CAMERAS.into_iter().flat_map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_killed_at_any_moment_publishes_each_alert_once() {
    let _module = lock_module(module_path!());
    let server = KafkaServer::start().unwrap();
    let kafka = server.settings("street");
    let folder = tempfile::tempdir().unwrap();
    let (bootstrap, rules) = (server.bootstrap(), rules());
    let files = MonitorFiles { folder: folder.path(), kafka: &bootstrap, prefix: "street", rules: &rules };
    let mut street = Street::new(&kafka);

    let raised = "lookout_monitor_alerts_total";
    let published = "lookout_monitor_alerts_published_total";
    let read = "lookout_monitor_records_total";
    let moments: [&dyn Fn(&Monitor) -> bool; 8] = [
        &|_| true,
        &|monitor| monitor.serves(),
        &|monitor| monitor.number(read) > 0,
        &|monitor| monitor.number(raised) > 0,
        &|monitor| monitor.number(published) > 0,
        &|monitor| monitor.number(published) > 2,
        &|monitor| monitor.number(published) > 12,
        &|monitor| monitor.number(read) > 600,
    ];
    for moment in moments {
        let mut monitor = files.start().unwrap();
        street.until(&mut monitor, moment).await;
        drop(monitor);
    }
    street.end_cycle().await;

    let mut monitor = files.start().unwrap();
    let expected = expected(street.frames);
    assert!(expected.len() > 30, "{expected:?}");
    let deadline = Instant::now() + PATIENCE;
    while published_alerts(&kafka).await.len() < expected.len() {
        assert!(monitor.is_running().unwrap() && Instant::now() < deadline, "{}", files.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // A stopping monitor publishes the alerts that it still has to publish.
    assert_eq!(monitor.stop(PATIENCE).unwrap(), Some(0), "{}", files.log());
    let published_alerts = published_alerts(&kafka).await;
    let mut times: BTreeMap<What, usize> = BTreeMap::new();
    published_alerts.iter().for_each(|alert| *times.entry(what(alert)).or_default() += 1);
    let duplicates: Vec<_> = times.iter().filter(|(_, times)| **times != 1).collect();
    assert!(duplicates.is_empty(), "{duplicates:#?}");
    let found: BTreeSet<What> = times.into_keys().collect();
    assert_eq!(found, expected);
    let named: BTreeSet<(&str, u32)> =
        published_alerts.iter().map(|alert| (alert.id.as_str(), alert.version)).collect();
    assert_eq!(named.len(), published_alerts.len());
}
