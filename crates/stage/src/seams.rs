//! The traits that connect the stages: frame source, detector and record sink.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::Sender;
use lookout_schema::{FrameRecord, Size, SnapshotRecord, StatusRecord};
use thiserror::Error;

use crate::{
    CameraIntake, CameraLedger, CameraReport, Findings, Keep, Permits, Pixels, Placement, SourceEnd, Stop,
    Thinning, Ticket,
};

/// A source of frames: a camera, or a file in place of one.
pub trait FrameSource: Send {
    /// Delivers frames until the source ends, fails permanently or is stopped, and reconnects as often as necessary.
    /// Blocks its thread.
    fn run(&mut self, outlet: &SourceOutlet) -> SourceEnd;
}

/// The channels and shared state that a source needs to deliver its frames.
#[derive(Debug)]
pub struct SourceOutlet {
    pub intake: CameraIntake,
    pub ledger: Arc<CameraLedger>,
    /// The permits of a file source: each frame acquires one before it enters `intake`. `None` for live sources.
    pub permits: Option<Permits>,
    pub reports: Sender<CameraReport>,
    pub thinning: Thinning,
    pub stop: Stop,
}

impl SourceOutlet {
    /// Sends `report` to the worker, and drops it after 1 s: the worker always receives reports unless it shuts down.
    pub fn report(&self, report: CameraReport) {
        let _ = self.reports.send_timeout(report, Duration::from_secs(1));
    }
}

/// A network on its device, with preprocessing and postprocessing. It is owned by one thread.
pub trait Detect: Send {
    /// Runs the network on `frames` and returns one result per frame, in their order.
    ///
    /// # Errors
    /// Returns a [`DetectError`] if the network fails on the batch.
    fn detect(&mut self, frames: &[DetectFrame<'_>]) -> Result<Detected, DetectError>;

    /// Does the one-time work for batches of this number of frames of this size, such as allocation and tuning.
    /// `frames` are examples.
    fn prepare(&mut self, frames: &[DetectFrame<'_>]) -> Result<(), DetectError> {
        self.detect(frames).map(drop)
    }
}

/// One frame in the form that a network needs.
#[derive(Debug, Clone, Copy)]
pub struct DetectFrame<'a> {
    pub pixels: &'a Pixels,
    pub source: Size,
    pub placement: Placement,
    /// The filter for the frame's detections.
    pub keep: &'a Keep,
}

/// The inference results of a batch.
#[derive(Debug)]
pub struct Detected {
    /// One per frame, in the frames' order.
    pub findings: Vec<Findings>,
    /// The time from stacking the frames into a batch to the network's output.
    pub infer: Duration,
    /// The time of postprocessing.
    pub post: Duration,
    /// The number of forward passes: more than one if the device's memory is too small for a batch of this size.
    pub passes: usize,
}

/// The network failed on a batch.
#[derive(Debug, Error)]
#[error("inference failed for a batch of {batch}: {reason}")]
pub struct DetectError {
    pub batch: usize,
    pub reason: String,
}

/// Publishes records to where consumers read them.
pub trait RecordSink: Send + Sync {
    /// Publishes the record of a frame. Never waits: a lossless source is slowed down by its permits instead. The
    /// ticket is settled when the record is delivered or expires.
    fn publish(&self, record: &FrameRecord, ticket: Ticket);

    /// Publishes a status record; best effort.
    fn report(&self, record: &StatusRecord);

    /// Publishes a snapshot; best effort. Only the latest snapshot of a camera is kept.
    fn snapshot(&self, record: &SnapshotRecord);

    /// Waits until every record is settled, or until `deadline`, at which the remaining records expire.
    fn drain(&self, deadline: Instant) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}
