//! The metrics behind `/metrics`, in Prometheus' text format (OpenMetrics 1.0).

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use lookout_schema::{CameraId, CameraStatus, DropCause, ExpireCause, RecordKind};
use lookout_stage::{BatchClosed, SinkHealth};
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::health::CameraView;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCamera {
    camera: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCameraAndCause {
    camera: String,
    cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCameraAndStatus {
    camera: String,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByClosed {
    closed_by: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCause {
    cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRecords {
    records: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRecordsAndError {
    records: &'static str,
    error: String,
}

/// Why a snapshot did not reach the sink.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SnapshotLoss {
    /// The encoder was too slow, and a newer snapshot replaced this one.
    QueueFull,
    /// The image was missing, or could not be encoded.
    Encode,
}

/// Counts how often a CPU decoder replaced a camera's failed GPU decoder. The code that creates the sources increments
/// it; clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct DecoderFallbacks(Family<ByCamera, Counter>);

impl DecoderFallbacks {
    pub fn count(&self, camera: &CameraId) {
        self.of(camera).inc();
    }

    fn of(&self, camera: &CameraId) -> Counter {
        self.0.get_or_create_owned(&ByCamera { camera: camera.to_string() })
    }
}

/// The metrics that are counted as events occur. The ledgers' counters are read at each scrape.
pub(crate) struct Metrics {
    registry: Registry,
    batch_size: Histogram,
    batches: Family<ByClosed, Counter>,
    split_batches: Counter,
    busy_seconds: Counter<f64, AtomicU64>,
    capture_to_publish: Family<ByCamera, Histogram>,
    last_age: Family<ByCamera, Gauge<f64, AtomicU64>>,
    stage_restarts: Counter,
    decoder_fallbacks: DecoderFallbacks,
    totals: DeviceTotals,
    snapshots: SnapshotTotals,
}

/// The snapshot counters since the worker started.
#[derive(Debug, Default)]
struct SnapshotTotals {
    published: AtomicU64,
    queue_full: AtomicU64,
    encode: AtomicU64,
}

/// The device's counters since the worker started.
#[derive(Debug, Default)]
struct DeviceTotals {
    busy_us: AtomicU64,
    batches: AtomicU64,
    frames: AtomicU64,
}

/// A reading of the device's counters, from which differences are taken.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DeviceReading {
    pub(crate) busy: Duration,
    pub(crate) batches: u64,
    pub(crate) frames: u64,
}

/// Returns a histogram with buckets from 5 ms to 41 s.
fn latency_histogram() -> Histogram {
    Histogram::new((0..14).map(|i| 0.005 * f64::from(1 << i)))
}

impl Metrics {
    pub(crate) fn new(decoder_fallbacks: DecoderFallbacks) -> Arc<Self> {
        let mut registry = Registry::with_prefix("lookout");
        let batch_size = Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]);
        let batches = Family::<ByClosed, Counter>::default();
        let split_batches = Counter::default();
        let busy_seconds = Counter::default();
        let capture_to_publish: Family<ByCamera, Histogram> = Family::new_with_constructor(latency_histogram);
        let last_age = Family::<ByCamera, Gauge<f64, AtomicU64>>::default();
        let stage_restarts = Counter::default();
        registry.register("batch_size", "Frames per batch", batch_size.clone());
        registry.register("batches", "Batches, by the reason why they were closed", batches.clone());
        registry.register(
            "split_batches",
            "Batches that were processed in parts, because the device's memory was too small for them",
            split_batches.clone(),
        );
        registry.register_with_unit(
            "device_busy",
            "Time during which the device processed a batch",
            Unit::Seconds,
            busy_seconds.clone(),
        );
        registry.register_with_unit(
            "capture_to_publish",
            "Age of a record when it was published; for files, since the decoder's output",
            Unit::Seconds,
            capture_to_publish.clone(),
        );
        registry.register_with_unit(
            "last_record_age",
            "Age of the camera's last record when it was published",
            Unit::Seconds,
            last_age.clone(),
        );
        registry.register("stage_restarts", "Restarts of a failed stage", stage_restarts.clone());
        registry.register(
            "decoder_fallbacks",
            "Times a CPU decoder replaced the camera's failed GPU decoder",
            decoder_fallbacks.0.clone(),
        );
        let totals = DeviceTotals::default();
        Arc::new(Self {
            registry,
            batch_size,
            batches,
            split_batches,
            busy_seconds,
            capture_to_publish,
            last_age,
            stage_restarts,
            decoder_fallbacks,
            totals,
            snapshots: SnapshotTotals::default(),
        })
    }

    pub(crate) fn batch_done(&self, frames: usize, closed_by: BatchClosed, busy: Duration) {
        let closed_by = match closed_by {
            BatchClosed::Full => "full",
            BatchClosed::Idle => "idle",
            BatchClosed::Deadline => "deadline",
            BatchClosed::Drain => "drain",
        };
        self.batch_size.observe(frames as f64);
        self.batches.get_or_create(&ByClosed { closed_by }).inc();
        self.busy_seconds.inc_by(busy.as_secs_f64());
        self.totals.busy_us.fetch_add(busy.as_micros() as u64, Relaxed);
        self.totals.batches.fetch_add(1, Relaxed);
        self.totals.frames.fetch_add(frames as u64, Relaxed);
    }

    /// Counts a batch that needed more than one forward pass.
    pub(crate) fn batch_split(&self) {
        self.split_batches.inc();
    }

    pub(crate) fn published(&self, camera: &CameraId, latency: Duration) {
        let by = ByCamera { camera: camera.to_string() };
        self.capture_to_publish.get_or_create(&by).observe(latency.as_secs_f64());
        self.last_age.get_or_create(&by).set(latency.as_secs_f64());
    }

    /// Returns the age of the camera's last record when it was published.
    pub(crate) fn last_age(&self, camera: &CameraId) -> Option<Duration> {
        let age = self.last_age.get(&ByCamera { camera: camera.to_string() })?.get();
        Duration::try_from_secs_f64(age).ok()
    }

    /// Removes the metrics of a camera that this worker no longer runs.
    pub(crate) fn forget(&self, camera: &CameraId) {
        let by = ByCamera { camera: camera.to_string() };
        self.capture_to_publish.remove(&by);
        self.last_age.remove(&by);
        self.decoder_fallbacks.0.remove(&by);
    }

    pub(crate) fn snapshot_published(&self) {
        self.snapshots.published.fetch_add(1, Relaxed);
    }

    pub(crate) fn snapshot_lost(&self, why: SnapshotLoss) {
        let count = match why {
            SnapshotLoss::QueueFull => &self.snapshots.queue_full,
            SnapshotLoss::Encode => &self.snapshots.encode,
        };
        count.fetch_add(1, Relaxed);
    }

    pub(crate) fn stage_restarted(&self) {
        self.stage_restarts.inc();
    }

    pub(crate) fn stage_restarts(&self) -> u64 {
        self.stage_restarts.get()
    }

    pub(crate) fn device(&self) -> DeviceReading {
        DeviceReading {
            busy: Duration::from_micros(self.totals.busy_us.load(Relaxed)),
            batches: self.totals.batches.load(Relaxed),
            frames: self.totals.frames.load(Relaxed),
        }
    }

    /// Returns the text of a scrape.
    pub(crate) fn scrape(&self, cameras: &[CameraView], sink: &SinkHealth) -> Result<String, fmt::Error> {
        for view in cameras {
            // The series starts at 0, so that the first fallback shows as an increase.
            self.decoder_fallbacks.of(&view.id);
        }
        let mut text = String::new();
        text::encode_registry(&mut text, &self.registry)?;
        text::encode_registry(&mut text, &ledger_registry(cameras, sink))?;
        text::encode_registry(&mut text, &self.snapshots.registry(sink))?;
        text::encode_eof(&mut text)?;
        Ok(text)
    }
}

impl SnapshotTotals {
    fn registry(&self, sink: &SinkHealth) -> Registry {
        let published = Counter::<u64>::default();
        published.inc_by(self.published.load(Relaxed));
        let dropped = Family::<ByCause, Counter>::default();
        let kafka = sink.snapshots_lost;
        for (cause, count) in [
            ("queue_full", self.queue_full.load(Relaxed)),
            ("encode", self.encode.load(Relaxed)),
            ("kafka", kafka),
        ] {
            dropped.get_or_create(&ByCause { cause }).inc_by(count);
        }
        let mut registry = Registry::with_prefix("lookout");
        registry.register("snapshots_published", "Snapshots handed to the Kafka client", published);
        registry.register("snapshots_dropped", "Snapshots that never reached the broker, by cause", dropped);
        registry
    }
}

fn ledger_registry(cameras: &[CameraView], sink: &SinkHealth) -> Registry {
    let mut registry = Registry::with_prefix("lookout");
    let received = Family::<ByCamera, Counter>::default();
    let published = Family::<ByCamera, Counter>::default();
    let delivered = Family::<ByCamera, Counter>::default();
    let dropped = Family::<ByCameraAndCause, Counter>::default();
    let expired = Family::<ByCameraAndCause, Counter>::default();
    let processing = Family::<ByCamera, Gauge>::default();
    let in_flight = Family::<ByCamera, Gauge>::default();
    let spooled = Family::<ByCamera, Gauge>::default();
    let status = Family::<ByCameraAndStatus, Gauge>::default();
    let reconnects = Family::<ByCamera, Counter>::default();
    for view in cameras {
        let counts = view.ledger.counts();
        let camera = view.id.to_string();
        let by = ByCamera { camera: camera.clone() };
        received.get_or_create(&by).inc_by(counts.received);
        published.get_or_create(&by).inc_by(counts.published);
        delivered.get_or_create(&by).inc_by(counts.delivered);
        processing.get_or_create(&by).set(counts.processing as i64);
        in_flight.get_or_create(&by).set(counts.in_flight as i64);
        spooled.get_or_create(&by).set(counts.spooled as i64);
        reconnects.get_or_create(&by).inc_by(view.reconnects);
        // Causes without frames are exported as 0, so that the first one shows as an increase.
        for cause in DropCause::ALL {
            let by = ByCameraAndCause { camera: camera.clone(), cause: cause.as_str() };
            dropped.get_or_create(&by).inc_by(counts.dropped.get(&cause).copied().unwrap_or(0));
        }
        for cause in ExpireCause::ALL {
            let by = ByCameraAndCause { camera: camera.clone(), cause: cause.as_str() };
            expired.get_or_create(&by).inc_by(counts.expired.get(&cause).copied().unwrap_or(0));
        }
        for each in CameraStatus::ALL {
            let by = ByCameraAndStatus { camera: camera.clone(), status: each.as_str() };
            status.get_or_create(&by).set(i64::from(each == view.status));
        }
    }
    let connected = Gauge::<i64>::default();
    connected.set(i64::from(sink.connected));
    registry.register("frames_received", "Frames decoded, or withheld before the first key frame", received);
    registry.register("frames_processing", "Frames between the decoder and their record", processing);
    registry.register("frames_published", "Frames that became a record", published);
    registry.register("frames_delivered", "Records that the broker has acknowledged", delivered);
    registry.register("frames_dropped", "Frames without a record, by cause", dropped);
    registry.register("frames_expired", "Records that never reached the broker, by cause", expired);
    registry.register("frames_in_flight", "Records sent and not yet acknowledged", in_flight);
    registry.register("frames_spooled", "Records that wait in the worker to be sent", spooled);
    registry.register("camera_status", "1 for the camera's status, 0 for the others", status);
    registry.register("camera_reconnects", "Reconnects of the camera", reconnects);
    registry.register("kafka_connected", "1 while a broker is connected, else 0", connected);
    let refused = Family::<ByRecordsAndError, Counter>::default();
    for each in &sink.refusals {
        let by = ByRecordsAndError { records: records(each.kind), error: each.error.clone() };
        refused.get_or_create(&by).inc_by(each.count);
    }
    registry.register(
        "kafka_refused",
        "Records that Kafka refused, including those that were retried",
        refused,
    );
    let refusing = Family::<ByRecords, Gauge>::default();
    for kind in [RecordKind::Frame, RecordKind::Status, RecordKind::Snapshot] {
        let stands = sink.refused.iter().any(|(refused, _)| *refused == kind);
        refusing.get_or_create(&ByRecords { records: records(kind) }).set(i64::from(stands));
    }
    registry.register("kafka_refusing", "1 while Kafka refuses all records of the topic, else 0", refusing);
    registry
}

/// Returns the value of the label `records`.
fn records(kind: RecordKind) -> &'static str {
    match kind {
        RecordKind::Frame => "frames",
        RecordKind::Status => "status",
        RecordKind::Snapshot => "snapshots",
        RecordKind::Track => "tracks",
        RecordKind::Alert => "alerts",
        RecordKind::Camera => "cameras",
    }
}
