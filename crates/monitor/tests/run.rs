//! The whole monitor, on an embedded broker.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod health;
mod pages;
mod webhooks;

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::http::HeaderMap;
use lookout_broker::{Embedded, KafkaSink, ReadFrom, ReadRecord, ReaderOptions, RecordReader};
use lookout_config::{Brokers, KafkaSettings};
use lookout_monitor::{Monitor, MonitorSettings, parse};
use lookout_schema::{
    AlertRecord, BBox, Clock, Detection, Epoch, FrameRecord, ModelInfo, RecordKind, SessionId, Size,
    Timestamp, TimingUs, Topics,
};
use lookout_stage::{CameraLedger, RecordSink};
use lookout_track::{SessionTracker, TrackerSettings};
use tempfile::TempDir;
use tokio::task::{JoinHandle, spawn_blocking};

/// The timeout of a wait; only a failing test reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

fn cluster() -> Embedded {
    let settings = KafkaSettings {
        brokers: Brokers::Embedded,
        topics: Topics::new("lookout").unwrap(),
        partitions: 2,
        replication: 1,
        buffer_records: NonZeroUsize::new(10_000).unwrap(),
        format: lookout_schema::RecordFormat::Json,
        password_file: None,
        client: Vec::new(),
    };
    Embedded::start(&settings).unwrap()
}

fn settings(cluster: &Embedded, folder: &TempDir, more: &str) -> MonitorSettings {
    let data = folder.path().display();
    let text =
        format!("[monitor]\nhttp = \"127.0.0.1:0\"\ndata = \"{data}\"\nstart_from = \"earliest\"\n{more}");
    let mut settings = parse(Path::new("monitor.toml"), &text, &|_| None).unwrap();
    settings.kafka.brokers = cluster.settings().brokers.clone();
    settings
}

/// A running monitor. Dropping it has the effect of killing the process.
struct Running {
    http: String,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(settings: MonitorSettings) -> Self {
        // The killed predecessor releases the store with a short delay.
        let deadline = Instant::now() + PATIENCE;
        let monitor = loop {
            match Monitor::open(settings.clone()).await {
                Ok(monitor) => break monitor,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let http = format!("http://{}", monitor.address());
        let task = tokio::spawn(async move { monitor.run(std::future::pending()).await.unwrap() });
        Self { http, task }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.http));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.to_owned()).unwrap();
        let call = move || {
            let config = ureq::Agent::config_builder()
                .http_status_as_error(false)
                .max_redirects(0)
                .allow_non_standard_methods(true)
                .build();
            let agent: ureq::Agent = config.into();
            let mut answer = agent.run(request).unwrap();
            let text = answer.body_mut().read_to_string().unwrap();
            Answer { status: answer.status().as_u16(), headers: answer.headers().clone(), text }
        };
        spawn_blocking(call).await.unwrap()
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{self:?}"))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Returns the body of `/healthz`, once it has the status `status`.
async fn healthy(running: &Running, status: u16) -> String {
    until("the health", async || {
        let answer = running.get("/healthz").await;
        (answer.status == status).then_some(answer.text)
    })
    .await
}

/// A camera with one person who walks back and forth across the middle of the image.
struct Camera {
    ledger: Arc<CameraLedger>,
    session: SessionId,
    seq: u64,
    started: Timestamp,
    /// The expected result: a session tracker that processes the same records without a restart.
    truth: SessionTracker,
    crossings: usize,
}

impl Camera {
    fn new(id: &str) -> Self {
        let mut truth = SessionTracker::new("monitor", TrackerSettings::default());
        truth.set_places(&BTreeMap::new(), &BTreeMap::from([("middle".into(), [[0.5, 0.0], [0.5, 1.0]])]));
        Self {
            ledger: CameraLedger::new(id.parse().unwrap()),
            session: SessionId::generate(),
            seq: 0,
            started: Timestamp::now() - Duration::from_secs(60),
            truth,
            crossings: 0,
        }
    }

    fn publish(&mut self, sink: &KafkaSink) {
        let mut ticket = self.ledger.receive(self.session, self.seq);
        let now = Timestamp::now();
        let dropped_before = ticket.published(now.as_unix_us());
        let x = 500.0 + 300.0 * (self.seq as f32 / 12.0).sin();
        let record = FrameRecord {
            schema: FrameRecord::SCHEMA.into(),
            camera: self.ledger.camera().clone(),
            worker: "edge-1".parse().unwrap(),
            epoch: Epoch(1),
            session: self.session,
            seq: self.seq,
            pts_ns: None,
            captured_at: self.started + Duration::from_millis(self.seq * 50),
            clock: Clock::Arrival,
            published_at: now,
            age_ms: 0,
            timing_us: TimingUs::default(),
            source: Size { width: 1000, height: 1000 },
            model: ModelInfo { arch: "x".into(), weights: "random:7".into(), precision: "fp32".into() },
            classifier: None,
            dropped_before,
            detections: vec![Detection {
                class_id: 1,
                label: "<img src=x onerror=alert(1)>".into(),
                score: 0.9,
                bbox: BBox { x1: x - 40.0, y1: 300.0, x2: x + 40.0, y2: 500.0 },
                classes: Vec::new(),
            }],
            classes: Vec::new(),
        };
        self.seq += 1;
        self.crossings += self.truth.process(&record).unwrap().crossings.len();
        sink.publish(&record, ticket);
    }
}

async fn alerts(cluster: &Embedded) -> Vec<AlertRecord> {
    let options = ReaderOptions {
        from: ReadFrom::Beginning,
        kinds: vec![RecordKind::Alert],
        until_end: true,
        ..ReaderOptions::default()
    };
    let mut reader = RecordReader::open(cluster.settings(), &options).await.unwrap();
    let mut alerts = Vec::new();
    while let Some(record) = reader.next().await.unwrap() {
        let ReadRecord::Alert(alert) = record else { panic!("{record:?}") };
        alerts.push(*alert);
    }
    alerts
}

const CROSSING: &str = r#"
[[rule]]
name = "crossing"
kind = "line"
[[line]]
camera = "gate"
name = "middle"
points = [[0.5, 0.0], [0.5, 1.0]]
[[line]]
camera = "yard"
name = "middle"
points = [[0.5, 0.0], [0.5, 1.0]]
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loses_and_duplicates_no_alert_when_killed() {
    let (cluster, folder) = (cluster(), TempDir::new().unwrap());
    let sink = KafkaSink::start(cluster.settings()).unwrap();
    let mut cameras = [Camera::new("gate"), Camera::new("yard")];
    let settings = settings(&cluster, &folder, CROSSING);
    // The runs end at different points: shortly after the start, during a commit, during publishing.
    for run_ms in [900, 350, 1_700, 60, 2_300] {
        let running = Running::start(settings.clone()).await;
        let until = Instant::now() + Duration::from_millis(run_ms);
        while Instant::now() < until {
            cameras.iter_mut().for_each(|camera| camera.publish(&sink));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        drop(running);
    }
    let _running = Running::start(settings).await;
    let expected: usize = cameras.iter().map(|camera| camera.crossings).sum();
    assert!(expected > 10, "{expected}");
    let published = until("all alerts", async || {
        let published = alerts(&cluster).await;
        (published.len() >= expected).then_some(published)
    })
    .await;
    let mut times: BTreeMap<(&str, u32), usize> = BTreeMap::new();
    published.iter().for_each(|alert| *times.entry((&alert.id, alert.version)).or_default() += 1);
    assert_eq!((published.len(), times.len()), (expected, expected), "{times:?}");
}
