//! Runs `lookout adas`, and publishes records of cameras that an object approaches.

use std::{
    collections::BTreeMap,
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use lookout_broker::KafkaSink;
use lookout_schema::{Clock, Detection, Epoch, FrameRecord, ModelInfo, SessionId, Size, Timestamp, TimingUs};
use lookout_stage::{CameraLedger, RecordSink};
use tempfile::TempDir;

use crate::program::Serving;

/// A running `lookout adas`; killed when it is dropped.
#[derive(Debug)]
pub struct Adas {
    program: Serving,
    folder: TempDir,
}

impl Adas {
    /// Starts it on this Kafka and topic prefix, for all cameras.
    pub fn start(kafka: &str, prefix: &str) -> Result<Self> {
        Self::start_with(kafka, prefix, "")
    }

    /// Starts it with `[kafka.client]`, or with other lines of TOML.
    pub fn start_with(kafka: &str, prefix: &str, more: &str) -> Result<Self> {
        let folder = TempDir::new()?;
        let lines = format!(
            "[kafka]\ntopic_prefix = \"{prefix}\"\npartitions = 3\nreplication = 1\n\
             {more}[[camera]]\nid = \"*\"\nheight_m = 1.3\nhfov_deg = 60\n"
        );
        Ok(Self { program: Serving::start("adas", folder.path(), kafka, &lines)?, folder })
    }

    /// Returns its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Returns whether `/healthz` reports success, and its text; `None` without an answer.
    pub fn health(&self) -> Option<(bool, String)> {
        self.program.health()
    }

    /// Returns the body of one of its pages; `None` without an answer.
    pub fn page(&self, path: &str) -> Option<String> {
        self.program.page(path)
    }

    /// Returns a metric; 0 if it is missing.
    pub fn number(&self, name: &str) -> u64 {
        self.program.number(name)
    }

    /// Stops it with a signal, as a user does, and returns its exit code.
    pub fn stop(mut self, patience: Duration) -> Result<Option<i32>> {
        self.program.stop(patience).with_context(|| self.log())
    }
}

/// A forward camera without a worker.
#[derive(Debug)]
pub struct ForwardCamera {
    ledger: Arc<CameraLedger>,
    session: SessionId,
    seq: u64,
}

/// The frame size of the cameras.
const SOURCE: Size = Size { width: 1280, height: 720 };

impl ForwardCamera {
    pub fn new(id: &str) -> Result<Self> {
        let ledger = CameraLedger::new(id.parse()?);
        Ok(Self { ledger, session: SessionId::generate(), seq: 0 })
    }

    pub fn id(&self) -> &str {
        self.ledger.camera().as_str()
    }

    /// Starts a new session, as after a reconnect.
    pub fn reconnect(&mut self) {
        (self.session, self.seq) = (SessionId::generate(), 0);
    }

    /// Returns a record with these detections and the current time.
    pub fn record(&self, detections: Vec<Detection>) -> FrameRecord {
        let now = Timestamp::now();
        FrameRecord {
            schema: FrameRecord::SCHEMA.into(),
            camera: self.ledger.camera().clone(),
            worker: "edge-1".parse().unwrap_or_else(|_| unreachable!("a worker's id")),
            epoch: Epoch(1),
            session: self.session,
            seq: self.seq,
            pts_ns: None,
            captured_at: now,
            clock: Clock::Arrival,
            published_at: now,
            age_ms: 0,
            timing_us: TimingUs::default(),
            source: SOURCE,
            model: ModelInfo { arch: "x".into(), weights: "random:0".into(), precision: "fp32".into() },
            classifier: None,
            dropped_before: BTreeMap::new(),
            detections,
            classes: Vec::new(),
        }
    }

    pub fn publish(&mut self, sink: &KafkaSink, record: &FrameRecord) {
        let mut ticket = self.ledger.receive(self.session, self.seq);
        ticket.published(record.published_at.as_unix_us());
        self.seq += 1;
        sink.publish(record, ticket);
    }
}

/// Returns the detection of a car `meters` ahead, in the middle of the lane, for a camera 1.3 m above the
/// ground with a field of view of 60 degrees.
pub fn car_ahead(meters: f64) -> Detection {
    let scale = 1108.5 / meters;
    let foot = 360.0 + 1.3 * scale;
    let bbox = [640.0 - 0.9 * scale, foot - 1.5 * scale, 640.0 + 0.9 * scale, foot].map(|side| side as f32);
    Detection { class_id: 3, label: "car".into(), score: 0.9, bbox: bbox.into(), classes: Vec::new() }
}

/// Publishes 10 frames/s for each camera, in which a car approaches at 12 m/s from 48 m down to `until`
/// meters.
pub async fn approach(sink: &KafkaSink, cameras: &mut [ForwardCamera], until: f64) {
    let started = tokio::time::Instant::now();
    loop {
        let meters = 48.0 - 12.0 * started.elapsed().as_secs_f64();
        if meters < until {
            return;
        }
        for camera in cameras.iter_mut() {
            let record = camera.record(vec![car_ahead(meters)]);
            camera.publish(sink, &record);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Publishes empty frames until `done` is true, for at most `patience`.
pub async fn idle_until(
    sink: &KafkaSink,
    cameras: &mut [ForwardCamera],
    patience: Duration,
    mut done: impl FnMut() -> bool,
) -> Result<()> {
    let deadline = Instant::now() + patience;
    while !done() {
        ensure!(Instant::now() < deadline, "not within {patience:?}");
        for camera in cameras.iter_mut() {
            let record = camera.record(Vec::new());
            camera.publish(sink, &record);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// `count` cameras.
pub fn forward_cameras(count: usize) -> Result<Vec<ForwardCamera>> {
    (0..count).map(|i| ForwardCamera::new(&format!("front-{i}")).context("a camera")).collect()
}
