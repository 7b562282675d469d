//! The whole monitor, on an embedded broker.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, http::StatusCode, routing::post};
use hmac::{Hmac, KeyInit, Mac};
use lookout_broker::{
    Edit, Embedded, KafkaSink, ReadFrom, ReadRecord, ReaderOptions, RecordReader, Registry,
};
use lookout_config::{Brokers, KafkaSettings, Secret};
use lookout_monitor::{Monitor, MonitorSettings, parse};
use lookout_schema::{
    AlertRecord, BBox, CameraSpec, CameraStatus, CameraStatusRecord, Clock, Detection, Epoch, FrameRecord,
    LedgerCounts, ModelInfo, RecordKind, SessionId, Size, StatusRecord, Timestamp, TimingUs, Topics,
};
use lookout_stage::{CameraLedger, RecordSink};
use lookout_track::{SessionTracker, TrackerSettings};
use sha2::Sha256;
use tempfile::TempDir;
use tokio::task::{JoinHandle, spawn_blocking};

/// The timeout of a wait; only a failing test reaches it.
const PATIENCE: Duration = Duration::from_secs(60);
const TOKEN: &str = "a-token-of-some-length";

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejects_unauthenticated_and_cross_site_requests() {
    let (cluster, folder) = (cluster(), TempDir::new().unwrap());
    let mut settings = settings(&cluster, &folder, "");
    settings.token = Some(Secret::new(TOKEN));
    let running = Running::start(settings).await;
    assert_eq!(running.get("/api/overview").await.status, 401);
    let shown = running.get("/cameras/gate").await;
    assert_eq!((shown.status, shown.header("location")), (303, "/login?next=/cameras/gate"));
    for path in ["/login", "/assets/app.js", "/healthz", "/metrics", "/api/overview", "/nowhere"] {
        let answer = running.get(path).await;
        assert!(
            answer.header("content-security-policy").starts_with("default-src 'none'; script-src 'self'")
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
    }
    let bearer = format!("Bearer {TOKEN}");
    let known = [("authorization", bearer.as_str())];
    assert_eq!(running.ask("GET", "/api/overview", &known, "").await.json()["auth"], true);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let wrong = running.ask("POST", "/login", &form, "token=wrong&next=/").await;
    assert_eq!((wrong.status, wrong.header("set-cookie")), (303, ""));
    let right = running.ask("POST", "/login", &form, &format!("token={TOKEN}&next=//evil.example")).await;
    assert_eq!((right.status, right.header("location")), (303, "/"));
    let cookie = right.header("set-cookie").split(';').next().unwrap().to_owned();
    assert_eq!(running.ask("GET", "/api/overview", &[("cookie", &cookie)], "").await.status, 200);
    // With the cookie, which a form of another site would also send if the browser ignored SameSite.
    let json = ("content-type", "application/json");
    let origin = running.http.clone();
    for (headers, status) in [
        (vec![("cookie", cookie.as_str()), json], 403),
        (vec![("cookie", &cookie), json, ("x-lookout", "1"), ("origin", "http://evil.example")], 403),
        (vec![("cookie", &cookie), json, ("x-lookout", "1"), ("sec-fetch-site", "cross-site")], 403),
        (vec![json, ("x-lookout", "1")], 401),
        (vec![("cookie", &cookie), json, ("x-lookout", "1"), ("origin", &origin)], 404),
    ] {
        let answer = running.ask("POST", "/api/alerts/acknowledge", &headers, "{\"id\":\"x\"}").await;
        assert_eq!(answer.status, status, "{headers:?} {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serves_overview_details_history_and_alerts() {
    let (cluster, folder) = (cluster(), TempDir::new().unwrap());
    let sink = KafkaSink::start(cluster.settings()).unwrap();
    let running = Running::start(settings(&cluster, &folder, CROSSING)).await;
    let mut camera = Camera::new("gate");
    (0..100).for_each(|_| camera.publish(&sink));
    let overview = until("the camera", async || {
        let overview = running.get("/api/overview").await.json();
        let open = overview["cameras"].get(0).is_some_and(|camera| camera["alerts_open"] != 0);
        open.then_some(overview)
    })
    .await;
    assert_eq!(overview["cameras"][0]["counts"]["<img src=x onerror=alert(1)>"], 1);
    healthy(&running, 200).await;
    let details = running.get("/api/cameras/gate").await.json();
    assert_eq!(details["lines"]["middle"][1][1], 1.0);
    assert!(details["line_totals"]["middle"]["left_to_right"].as_u64().unwrap() > 0, "{details}");
    let history = running.get("/api/cameras/gate/history?minutes=5").await.json();
    assert!(history["fps"].as_array().unwrap().iter().any(|fps| fps.is_number()), "{history}");
    for (path, status) in [
        ("/api/cameras/nobody", 404),
        ("/api/cameras/%3Cscript%3E", 400),
        ("/api/cameras/gate/snapshot.jpg", 404),
        ("/api/alerts?limit=x", 400),
        ("/api/alerts?level=worst", 400),
        ("/api/nothing", 404),
        ("/healthz", 200),
    ] {
        assert_eq!(running.get(path).await.status, status, "{path}");
    }
    assert_eq!(running.ask("GET", "/api/overview", &[("host", "evil.example")], "").await.status, 403);
    let alerts = running.get("/api/alerts?state=open&camera=gate").await.json();
    let id = &alerts["alerts"][0]["alert"]["id"];
    let body = serde_json::json!({ "id": id, "by": "<b>me</b>", "note": "seen" }).to_string();
    let headers = [("content-type", "application/json"), ("x-lookout", "1")];
    let seen = running.ask("POST", "/api/alerts/acknowledge", &headers, &body).await.json();
    assert_eq!(seen["acknowledged"]["by"], "<b>me</b>");
    let metrics = running.get("/metrics").await.text;
    assert!(metrics.contains("lookout_monitor_records_total{topic=\"frames\"}"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn saves_zones_to_the_registry_and_reports_conflicts() {
    let (cluster, folder) = (cluster(), TempDir::new().unwrap());
    let registry = Registry::open(cluster.settings(), 2).await.unwrap();
    let spec = CameraSpec::new("gate".parse().unwrap(), "test://ball");
    let put = move || registry.edit(|_| Ok::<_, String>(vec![Edit::Put(Box::new(spec.clone()))])).is_ok();
    assert!(spawn_blocking(put).await.unwrap());
    let running = Running::start(settings(&cluster, &folder, "")).await;
    until("the registry", async || (running.get("/api/cameras/gate").await.status == 200).then_some(()))
        .await;
    let headers = [("content-type", "application/json"), ("x-lookout", "1")];
    let put = async |id: &str, version: u64, zones: &str| {
        let body = format!("{{\"version\":{version},\"zones\":{zones},\"lines\":{{}}}}");
        running.ask("PUT", &format!("/api/cameras/{id}/zones"), &headers, &body).await
    };
    let door = r#"{"door":[[0,0],[1,0],[1,1]]}"#;
    assert_eq!(put("yard", 1, door).await.status, 404);
    assert_eq!(put("gate", 1, r#"{"door":[[0,0],[1,0]]}"#).await.status, 422);
    assert_eq!(put("gate", 1, door).await.json()["version"], 2);
    let late = put("gate", 1, "{}").await;
    assert_eq!((late.status, late.json()["version"].as_u64()), (409, Some(2)));
    until("the zone", async || {
        let details = running.get("/api/cameras/gate").await.json();
        (details["zones"]["door"].is_array() && details["registry"]["version"] == 2).then_some(())
    })
    .await;
}

type Calls = Arc<(AtomicUsize, Mutex<Vec<(HeaderMap, Bytes)>>)>;

async fn hook(State(calls): State<Calls>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if calls.0.fetch_add(1, Relaxed) == 0 {
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    calls.1.lock().unwrap().push((headers, body));
    StatusCode::NO_CONTENT
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_a_webhook_and_signs_its_calls() {
    let calls = Calls::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    let app = Router::new().route("/hook", post(hook)).with_state(Arc::clone(&calls));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let (cluster, folder) = (cluster(), TempDir::new().unwrap());
    let sink = KafkaSink::start(cluster.settings()).unwrap();
    let more = format!("{CROSSING}[[webhook]]\nurl = \"http://{to}/hook\"\nsecret = \"s3cret\"");
    let _running = Running::start(settings(&cluster, &folder, &more)).await;
    let mut camera = Camera::new("gate");
    while camera.crossings < 2 {
        camera.publish(&sink);
    }
    until("both alerts", async || (calls.1.lock().unwrap().len() >= 2).then_some(())).await;
    let taken = std::mem::take(&mut *calls.1.lock().unwrap());
    let mut ids: Vec<String> = Vec::new();
    for (headers, body) in &taken {
        let header = |name: &str| headers[name].to_str().unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(b"s3cret").unwrap();
        mac.update(header("x-lookout-timestamp").as_bytes());
        mac.update(b".");
        mac.update(body);
        let digest = mac.finalize().into_bytes();
        let signature: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(header("x-lookout-signature"), format!("sha256={signature}"));
        let alert: AlertRecord = serde_json::from_slice(body).unwrap();
        assert_eq!(header("x-lookout-id"), format!("{}/{}", alert.id, alert.version));
        ids.push(alert.id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sets_a_refused_alert_aside_and_delivers_the_others() {
    let calls = Arc::new(AtomicUsize::new(0));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = listener.local_addr().unwrap();
    let counted = Arc::clone(&calls);
    let refuse_first = async move || match counted.fetch_add(1, Relaxed) {
        0 => StatusCode::BAD_REQUEST,
        _ => StatusCode::NO_CONTENT,
    };
    let app = Router::new().route("/hook", post(refuse_first));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let (cluster, folder) = (cluster(), TempDir::new().unwrap());
    let sink = KafkaSink::start(cluster.settings()).unwrap();
    let more = format!("{CROSSING}[[webhook]]\nname = \"phone\"\nurl = \"http://{to}/hook\"");
    let running = Running::start(settings(&cluster, &folder, &more)).await;
    let mut camera = Camera::new("gate");
    while camera.crossings < 3 {
        camera.publish(&sink);
    }
    let metric = async |text: &str| running.get("/metrics").await.text.contains(text).then_some(());
    let calls = "lookout_monitor_webhook_calls_total{webhook=\"phone\",result=";
    until("one refused", async || metric(&format!("{calls}\"refused\"}} 1")).await).await;
    until("two delivered", async || metric(&format!("{calls}\"delivered\"}} 2")).await).await;
    let dead_letters = running.get("/api/webhooks/dead-letters").await.json();
    assert_eq!(dead_letters.as_array().unwrap().len(), 1, "{dead_letters}");
    assert_eq!(
        (&dead_letters[0]["webhook"], &dead_letters[0]["why"]),
        (&"phone".into(), &"HTTP status 400".into())
    );
}

/// Returns the body of `/healthz`, once it has the status `status`.
async fn healthy(running: &Running, status: u16) -> String {
    until("the health", async || {
        let answer = running.get("/healthz").await;
        (answer.status == status).then_some(answer.text)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unauthorized_snapshots_affect_only_the_images() {
    let (cluster, folder) = (cluster(), TempDir::new().unwrap());
    cluster.set_refused(RecordKind::Snapshot, true).unwrap();
    let sink = KafkaSink::start(cluster.settings()).unwrap();
    let running = Running::start(settings(&cluster, &folder, "")).await;
    let mut camera = Camera::new("gate");
    camera.publish(&sink);
    until("the camera, and the notice", async || {
        let overview = running.get("/api/overview").await.json();
        let notice = overview["notices"].get(0)?.as_str()?;
        let is_it = notice.starts_with("Images are not available: `lookout.snapshots.v1` cannot be read");
        (is_it && overview["cameras"].get(0).is_some()).then_some(())
    })
    .await;
    healthy(&running, 200).await;
    cluster.set_refused(RecordKind::Snapshot, false).unwrap();
    until("no notice", async || {
        let overview = running.get("/api/overview").await.json();
        overview["notices"].as_array().unwrap().is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_reports_unauthorized_frames_until_they_can_be_read() {
    let (cluster, folder) = (cluster(), TempDir::new().unwrap());
    cluster.set_refused(RecordKind::Frame, true).unwrap();
    let running = Running::start(settings(&cluster, &folder, "")).await;
    // The refusal is also reported from the start on.
    until("the refusal", async || healthy(&running, 503).await.contains("lookout.frames.v1").then_some(()))
        .await;
    cluster.set_refused(RecordKind::Frame, false).unwrap();
    healthy(&running, 200).await;
    let sink = KafkaSink::start(cluster.settings()).unwrap();
    let mut camera = Camera::new("gate");
    let frames = async |at_least: u64| {
        until("the frames", async || {
            let frames = running.get("/metrics").await.text;
            let line =
                frames.lines().find(|line| line.contains("records_total{topic=\"frames\"}"))?.to_owned();
            (line.rsplit(' ').next()?.parse::<u64>().ok()? >= at_least).then_some(())
        })
        .await;
    };
    camera.publish(&sink);
    frames(1).await;
    cluster.set_refused(RecordKind::Frame, true).unwrap();
    healthy(&running, 503).await;
    cluster.set_refused(RecordKind::Frame, false).unwrap();
    healthy(&running, 200).await;
    camera.publish(&sink);
    frames(2).await;
    assert!(!running.task.is_finished());
}

/// The monitor loses its connection and the cameras do not, as when the brokers return at another address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disconnected_monitor_is_unhealthy_and_raises_no_camera_alert() {
    let (cluster, folder) = (cluster(), TempDir::new().unwrap());
    let sink = KafkaSink::start(cluster.settings()).unwrap();
    let rule = "[[rule]]\nname = \"down\"\nkind = \"camera_down\"\nfor_s = 1\nlevel = \"critical\"\n\
                [[rule]]\nname = \"worker\"\nkind = \"worker_down\"\nfor_s = 1";
    let running = Running::start(settings(&cluster, &folder, rule)).await;
    // Status records come every second, so three missing ones count as silence.
    let mut beats = 0;
    let alert_count = async || running.get("/api/alerts").await.json()["alerts"].as_array().unwrap().len();
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(20) {
        sink.report(&status("gate"));
        beats += 1;
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        assert_eq!(alert_count().await, 0, "after {beats} beats");
    }
    healthy(&running, 200).await;
    cluster.set_away(true).unwrap();
    let reason = healthy(&running, 503).await;
    assert!(reason.contains("cannot be reached") || reason.contains("do not answer"), "{reason}");
    let away = Instant::now();
    while away.elapsed() < Duration::from_secs(12) {
        assert_eq!(running.get("/healthz").await.status, 503);
        assert_eq!(alert_count().await, 0);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    cluster.set_away(false).unwrap();
    sink.report(&status("gate"));
    healthy(&running, 200).await;
    // A camera that is really silent is reported, once the missed records are read.
    until("the alert", async || (alert_count().await > 0).then_some(())).await;
}

fn status(camera: &str) -> StatusRecord {
    StatusRecord::Camera(CameraStatusRecord {
        schema: StatusRecord::SCHEMA.into(),
        at: Timestamp::now(),
        camera: camera.parse().unwrap(),
        worker: "edge-1".parse().unwrap(),
        epoch: Epoch(1),
        session: None,
        status: CameraStatus::Running,
        retry: None,
        detail: None,
        reconnects: 0,
        fps: 5.0,
        age_ms: None,
        clock: None,
        ledger: LedgerCounts::default(),
        priority: None,
        degraded: None,
    })
}
