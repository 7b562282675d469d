//! The recorder: the task that turns a device's results into records and publishes them to the sink.

use std::{
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use lookout_infer::{DeviceEvent, InferredBatch};
use lookout_schema::{Clock, DropCause, FrameRecord, ModelInfo, Timestamp, TimingUs, WorkerId};
use lookout_stage::{BootTime, FrameResult, RecordSink};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{metrics::Metrics, snapshots::Snapshots};

/// Publishes inference results as records.
pub(crate) struct Recorder {
    pub(crate) sink: Arc<dyn RecordSink>,
    pub(crate) worker: WorkerId,
    pub(crate) model: ModelInfo,
    pub(crate) classifier: Option<ModelInfo>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) latencies: Latencies,
    /// `Some` if the pipeline publishes snapshots.
    pub(crate) snapshots: Option<Snapshots>,
    /// Receives why the device was lost.
    pub(crate) lost: mpsc::Sender<DeviceLost>,
}

/// The process cannot use its device any more, and has to be started again.
#[derive(Debug, thiserror::Error)]
#[error(
    "device lost, this process can no longer use it: {reason}; restart the worker (`restart` in Docker Compose does \
     so), and check the GPU's driver and memory if it happens often"
)]
pub struct DeviceLost {
    pub reason: String,
}

/// The latencies of all records, in microseconds.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> Self {
        let mut histogram = Histogram::new_with_bounds(1, 3_600_000_000, 3).unwrap_or_else(|_| unbounded());
        histogram.auto(true);
        Self(histogram)
    }

    fn record(&mut self, latency: Duration) {
        self.0.saturating_record(latency.as_micros() as u64);
    }

    /// Returns a quantile in milliseconds, or `None` before the first record.
    pub(crate) fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(quantile) as f64 / 1_000.0)
    }
}

impl Recorder {
    /// Runs until the device has ended, and returns the measured latencies.
    pub(crate) async fn run(mut self, mut events: mpsc::Receiver<DeviceEvent>) -> Latencies {
        while let Some(event) = events.recv().await {
            match event {
                DeviceEvent::Inferred(batch) => self.publish(batch),
                DeviceEvent::BatchFailed { frames, reason } => {
                    tracing::error!(frames, reason, "inference failed for a batch, its frames are dropped");
                }
                DeviceEvent::Restarted { reason } => {
                    self.metrics.stage_restarted();
                    tracing::error!(reason, "reloading the network");
                }
                DeviceEvent::Lost { reason } => {
                    // If the channel is full, the supervisor is already stopping for another stream's report.
                    let _ = self.lost.try_send(DeviceLost { reason });
                }
            }
        }
        if let Some(snapshots) = self.snapshots {
            snapshots.finish().await;
        }
        self.latencies
    }

    fn publish(&mut self, batch: InferredBatch) {
        self.metrics.batch_done(batch.results.len(), batch.closed_by, batch.busy);
        if batch.passes > 1 {
            self.metrics.batch_split();
        }
        for result in batch.results {
            // A panic loses only one frame, which its ticket counts.
            if catch_unwind(AssertUnwindSafe(|| self.publish_one(result))).is_err() {
                self.metrics.stage_restarted();
                tracing::error!("creating a record panicked, its frame is dropped");
            }
        }
    }

    fn publish_one(&mut self, result: FrameResult) {
        let published_at = Timestamp::now();
        let FrameResult { header, mut ticket, findings, snapshot, batched_at, infer, post } = result;
        // Another worker may own the camera by now.
        if !ticket.ownership().holds(BootTime::now()) {
            return ticket.dropped(DropCause::Shutdown);
        }
        let latency = match header.clock {
            // The capture time of a file's frame is not related to the time that the frame has spent in the worker.
            Clock::File => Instant::now().saturating_duration_since(header.arrived_at),
            Clock::Rtcp | Clock::Arrival => {
                let ms = published_at.ms_since(header.captured_at);
                Duration::from_millis(u64::try_from(ms).unwrap_or(0))
            }
        };
        self.latencies.record(latency);
        self.metrics.published(&header.camera, latency);
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let record = FrameRecord {
            schema: FrameRecord::SCHEMA.into(),
            camera: header.camera,
            worker: self.worker.clone(),
            epoch: ticket.ownership().epoch(),
            session: header.session,
            seq: header.seq,
            pts_ns: header.pts_ns,
            captured_at: header.captured_at,
            clock: header.clock,
            published_at,
            age_ms: published_at.ms_since(header.captured_at),
            timing_us: TimingUs {
                decode: micros(header.ready_at.saturating_duration_since(header.decoded_at)),
                queue: micros(batched_at.saturating_duration_since(header.ready_at)),
                infer: micros(infer),
                post: micros(post),
            },
            source: header.source,
            model: self.model.clone(),
            classifier: self.classifier.clone(),
            dropped_before: ticket.published(published_at.as_unix_us()),
            detections: findings.detections,
            classes: findings.classes,
        };
        self.sink.publish(&record, ticket);
        if let Some((snapshots, snapshot)) = self.snapshots.as_ref().zip(snapshot) {
            snapshots.offer(record, snapshot.into_image());
        }
    }
}

fn unbounded() -> Histogram<u64> {
    #[expect(clippy::expect_used, reason = "the library accepts 0 to 5 significant digits")]
    Histogram::new(3).expect("three significant digits are allowed")
}

/// Returns the latencies of all records once the recorder has ended; never completes before it is started.
pub(crate) async fn recorded(recorder: &mut Option<JoinHandle<Latencies>>) -> Latencies {
    match recorder {
        Some(recorder) => recorder.await.unwrap_or_else(|_| Latencies::new()),
        None => pending().await,
    }
}
