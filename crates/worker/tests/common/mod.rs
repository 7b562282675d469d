//! Fake sources, networks and sinks that succeed, fail, panic or hang.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use lookout_config::{CameraSettings, PipelineSettings};
use lookout_infer::ReloadError;
use lookout_schema::{
    BBox, CameraStatus, Clock, Detection, ExpireCause, FrameRecord, ModelInfo, RetryReason, SessionId, Size,
    SnapshotRecord, StatusRecord,
};
use lookout_stage::{
    BatchResult, CameraReport, Detect, DetectError, DetectFrame, FleetEvent, Frame, FrameSource,
    InferenceResult, InputSize, Pixels, RecordSink, SinkHealth, Snapshot, SnapshotPace, SourceEnd,
    SourceOutlet, Ticket,
};
use lookout_worker::{
    Components, DecoderFallbacks, FleetComponents, GroupMembership, Inputs, Loading, MonitoredSink, Network,
    Progress, StopRequest, Summary, run,
};
use tokio::sync::mpsc;

pub(crate) const SIZE: Size = Size { width: 2, height: 2 };

/// Returns the settings of a pipeline with `cameras`, each given by its id and its URI, which determines how [`source`]
/// behaves.
pub(crate) fn pipeline(cameras: &[(&str, &str)], worker: &str) -> PipelineSettings {
    let mut text = format!(
        "name = \"test\"\n[model]\narch = \"resnet18\"\nweights = \"random:0\"\n[worker]\nid = \"w\"\n{worker}\n"
    );
    for (id, uri) in cameras {
        text += &format!("[[camera]]\nid = \"{id}\"\nuri = \"{uri}\"\nretry_first_ms = 10\n");
    }
    lookout_config::parse("test.toml".as_ref(), &text, &|_| None).unwrap()
}

/// A fake source. Its URI gives its behavior: `good-N` is a file of N frames, `missing` a source that fails, `panic`
/// one that panics; `test://` is a live camera, and `test://panic` one that panics after each tenth frame.
struct Source {
    mood: String,
    live: bool,
    snapshots: SnapshotPace,
}

impl FrameSource for Source {
    fn run(&mut self, outlet: &SourceOutlet) -> SourceEnd {
        let session = SessionId::generate();
        let started = Instant::now();
        if self.mood == "missing" {
            return SourceEnd::Failed { reason: RetryReason::NotFound, detail: "no such file".into() };
        }
        outlet
            .reports
            .send(CameraReport {
                camera: outlet.ledger.camera().clone(),
                status: CameraStatus::Running,
                session: Some(session),
                clock: Some(Clock::Arrival),
                retry: None,
                detail: None,
            })
            .unwrap();
        let frames = self.mood.strip_prefix("good-").map_or(u64::MAX, |n| n.parse().unwrap());
        for seq in 0..frames {
            assert!(self.mood != "panic" || seq < 10, "a source panics");
            let mut ticket = outlet.ledger.receive(session, seq);
            if let Some(permits) = &outlet.permits {
                let permit = loop {
                    if outlet.stop.is_stopped() {
                        ticket.dropped(lookout_schema::DropCause::Shutdown);
                        return SourceEnd::Stopped;
                    }
                    if let Some(permit) = permits.acquire(Duration::from_millis(20)) {
                        break permit;
                    }
                };
                ticket = ticket.with_permit(permit);
            }
            let now = Instant::now();
            let pixels = Pixels::new(SIZE, vec![0; 12]).unwrap();
            let (snapshot, canvas) = self.snapshots.due(now - started).map(Snapshot::blank).unzip();
            let frame = Frame::synthetic(ticket, pixels.clone(), self.live, now);
            outlet.intake.push(Frame { snapshot, ..frame }, &outlet.stop);
            canvas.into_iter().for_each(|canvas| canvas.draw(pixels.clone()));
            // A live camera has its own frame rate.
            if outlet.stop.wait(if self.live { Duration::from_millis(2) } else { Duration::ZERO }) {
                return SourceEnd::Stopped;
            }
        }
        SourceEnd::Ended
    }
}

fn source(settings: &CameraSettings) -> Box<dyn FrameSource> {
    let uri = settings.uri.to_string();
    let mood = uri.rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
    // A snapshot of every frame.
    let snapshots = SnapshotPace::new(Duration::ZERO);
    Box::new(Source { mood, live: settings.uri.is_live(), snapshots })
}

/// The behavior of the network for each batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NetworkMood {
    Well,
    /// Panics once, at the second batch.
    PanicsOnce,
    /// As `PanicsOnce`, and the device cannot be used afterwards.
    LosesDevice,
    Stuck,
}

/// The behavior of loading the network.
pub(crate) enum Load {
    AtOnce,
    /// Reports this step, and then waits until the sender is dropped.
    Waits(&'static str, std::sync::mpsc::Receiver<()>),
    Fails(&'static str),
    Panics,
}

#[derive(Debug)]
struct Fake {
    mood: NetworkMood,
    batches: usize,
}

impl Detect for Fake {
    fn detect(&mut self, frames: &[DetectFrame<'_>]) -> Result<BatchResult, DetectError> {
        self.batches += 1;
        match self.mood {
            NetworkMood::PanicsOnce | NetworkMood::LosesDevice if self.batches == 2 => {
                panic!("a network panics")
            }
            NetworkMood::Stuck => loop {
                std::thread::park();
            },
            NetworkMood::Well | NetworkMood::PanicsOnce | NetworkMood::LosesDevice => {}
        }
        let bbox = BBox { x1: 0.0, y1: 0.0, x2: 1.0, y2: 1.0 };
        let found = Detection { class_id: 1, label: "person".into(), score: 0.5, bbox, classes: Vec::new() };
        let findings = frames
            .iter()
            .map(|_| InferenceResult { detections: vec![found.clone()], ..InferenceResult::default() })
            .collect();
        Ok(BatchResult { findings, infer: Duration::ZERO, post: Duration::ZERO, passes: 1 })
    }
}

/// A sink that keeps all records; while `away`, they are not acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    pub(crate) away: bool,
    pub(crate) records: Mutex<Vec<FrameRecord>>,
    pub(crate) statuses: Mutex<Vec<StatusRecord>>,
    pub(crate) snapshots: Mutex<Vec<SnapshotRecord>>,
    /// How long publishing a snapshot takes.
    pub(crate) snapshot_takes: Duration,
    pub(crate) waiting: Mutex<Vec<Ticket>>,
}

impl RecordSink for Sink {
    fn publish(&self, record: &FrameRecord, mut ticket: Ticket) {
        self.records.lock().unwrap().push(record.clone());
        if self.away {
            self.waiting.lock().unwrap().push(ticket);
        } else {
            ticket.sent();
            ticket.delivered();
        }
    }

    fn report(&self, record: &StatusRecord) {
        self.statuses.lock().unwrap().push(record.clone());
    }

    fn snapshot(&self, record: &SnapshotRecord) {
        std::thread::sleep(self.snapshot_takes);
        self.snapshots.lock().unwrap().push(record.clone());
    }

    fn drain(&self, deadline: Instant) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            if !self.waiting.lock().unwrap().is_empty() {
                tokio::time::sleep_until(deadline.into()).await;
                let waiting = std::mem::take(&mut *self.waiting.lock().unwrap());
                waiting.into_iter().for_each(|ticket| ticket.expired(ExpireCause::Shutdown));
            }
        })
    }
}

impl MonitoredSink for Sink {
    fn health(&self) -> SinkHealth {
        SinkHealth {
            connected: !self.away,
            last_error: self.away.then(|| "connection refused".into()),
            outbox: self.waiting.lock().unwrap().len(),
            ..SinkHealth::default()
        }
    }
}

/// A worker that runs on a task.
pub(crate) struct Running {
    pub(crate) sink: Arc<Sink>,
    pub(crate) stop: mpsc::Sender<StopRequest>,
    pub(crate) summary: tokio::task::JoinHandle<anyhow::Result<Summary>>,
}

pub(crate) fn start(settings: PipelineSettings, network: NetworkMood, sink: Sink) -> Running {
    start_with(settings, network, Load::AtOnce, sink, None)
}

pub(crate) fn start_loading(settings: PipelineSettings, load: Load) -> Running {
    start_with(settings, NetworkMood::Well, load, Sink::default(), None)
}

/// A fake membership in a fleet.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seat {
    pub(crate) released: Arc<Mutex<Vec<i32>>>,
}

impl GroupMembership for Seat {
    fn release(&self, partition: i32) {
        self.released.lock().unwrap().push(partition);
    }

    fn has_joined(&self) -> bool {
        true
    }
}

/// Starts a worker that runs the registry's cameras, and returns the sender of its fleet events.
pub(crate) fn start_in_fleet(fleet: &str, membership: Seat) -> (Running, mpsc::Sender<FleetEvent>) {
    let text = format!(
        "name = \"test\"\ncameras = \"registry\"\n[model]\narch = \"resnet18\"\nweights = \"random:0\"\n[kafka]\n\
         brokers = \"kafka:9092\"\n[worker]\nid = \"w\"\nstatus_interval_ms = 100\n[fleet]\n{fleet}\n"
    );
    let settings = lookout_config::parse("test.toml".as_ref(), &text, &|_| None).unwrap();
    let (sender, events) = mpsc::channel(16);
    let components = FleetComponents { events, membership: Box::new(membership) };
    (start_with(settings, NetworkMood::Well, Load::AtOnce, Sink::default(), Some(components)), sender)
}

fn start_with(
    settings: PipelineSettings,
    network: NetworkMood,
    load: Load,
    sink: Sink,
    fleet: Option<FleetComponents>,
) -> Running {
    let sink = Arc::new(sink);
    let loaded = Network {
        detectors: vec![Box::new(Fake { mood: network, batches: 0 })],
        first_pass: None,
        model: ModelInfo { arch: "fake".into(), weights: "random:0".into(), precision: "fp32".into() },
        classifier: None,
        knows_class: Arc::new(|_| true),
        fleet,
    };
    let load = move |loading: &Loading| {
        match load {
            Load::AtOnce => {}
            Load::Waits(step, until) => {
                loading.start_step(step);
                let _ = until.recv();
                anyhow::ensure!(loading.start_step("cancelled?"), "loading was cancelled");
            }
            Load::Fails(reason) => anyhow::bail!(reason),
            Load::Panics => panic!("loading panics"),
        }
        Ok(loaded)
    };
    let components = Components {
        sink: Arc::clone(&sink) as Arc<dyn MonitoredSink>,
        make_source: Arc::new(source),
        load: Box::new(load),
        reload: Arc::new(move || match network {
            NetworkMood::LosesDevice => Err(ReloadError::DeviceLost("an illegal memory access".into())),
            _ => Ok(Box::new(Fake { mood: NetworkMood::Well, batches: 0 })),
        }),
        device: "cpu".into(),
        prefetch: false,
        inputs: Inputs { network: "fake".into(), sizes: vec![SIZE], current: InputSize::new(SIZE) },
        decoder_fallbacks: DecoderFallbacks::default(),
    };
    let (stop, stops) = mpsc::channel(2);
    let summary =
        tokio::spawn(async move { run(settings, components, stops, &Progress::on_terminal()).await });
    Running { sink, stop, summary }
}

impl Running {
    /// Returns whether the last status of a camera is `status`.
    pub(crate) fn has_status(&self, id: &str, status: CameraStatus) -> bool {
        let statuses = self.sink.statuses.lock().unwrap();
        let of_camera = statuses.iter().rev().find_map(|record| match record {
            StatusRecord::Camera(camera) if camera.camera.as_str() == id => Some(camera.status),
            _ => None,
        });
        of_camera == Some(status)
    }

    /// Waits until `holds` returns true for the records so far.
    pub(crate) async fn until(&self, holds: impl Fn(&[FrameRecord]) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !holds(&self.sink.records.lock().unwrap()) {
            assert!(Instant::now() < deadline, "the condition was not met within 20 s");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Checks that all counters of a summary add up.
pub(crate) fn assert_adds_up(summary: &Summary) {
    for (id, camera) in &summary.cameras {
        let dropped: u64 = camera.dropped.values().sum();
        let expired: u64 = camera.expired.values().sum();
        assert_eq!(camera.received, camera.processing + camera.published + dropped, "{id}: {summary:?}");
        assert_eq!(camera.published, camera.delivered + expired, "{id}: {summary:?}");
    }
}

/// Returns the sequence numbers of the records by camera and session.
pub(crate) fn by_session(records: &[FrameRecord]) -> BTreeMap<(String, SessionId), Vec<u64>> {
    let mut sessions: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    for record in records {
        sessions.entry((record.camera.to_string(), record.session)).or_default().push(record.seq);
    }
    sessions
}
