//! The traits at the seams: where frames come from, what looks at them, where records go.

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

/// A camera, or a file that stands for one.
pub trait FrameSource: Send {
    /// Delivers frames until the source has ended for good or is told to stop, connecting anew as often
    /// as it takes. Blocks its thread.
    fn run(&mut self, outlet: &SourceOutlet) -> SourceEnd;
}

/// Where a source's frames go, and what it needs on the way.
#[derive(Debug)]
pub struct SourceOutlet {
    pub intake: CameraIntake,
    pub ledger: Arc<CameraLedger>,
    /// Where present, each frame takes one of these along before it enters `intake`.
    pub permits: Option<Permits>,
    pub reports: Sender<CameraReport>,
    pub thinning: Thinning,
    pub stop: Stop,
}

/// A network, on its device, with its pre- and postprocessing. It belongs to one thread.
pub trait Detect: Send {
    /// What `frames` show, in their order.
    fn detect(&mut self, frames: &[DetectFrame<'_>]) -> Result<Detected, DetectError>;

    /// Does once what later batches of as many frames of this size need: `frames` are examples.
    fn prepare(&mut self, frames: &[DetectFrame<'_>]) -> Result<(), DetectError> {
        self.detect(frames).map(drop)
    }
}

/// One frame as a network needs it.
#[derive(Debug, Clone, Copy)]
pub struct DetectFrame<'a> {
    pub pixels: &'a Pixels,
    pub source: Size,
    pub placement: Placement,
    /// Which of its detections are kept.
    pub keep: &'a Keep,
}

/// What a network saw in a batch.
#[derive(Debug)]
pub struct Detected {
    /// One for each frame, in the frames' order.
    pub findings: Vec<Findings>,
    /// From stacking the pictures to the network's output.
    pub infer: Duration,
    /// Reading the output.
    pub post: Duration,
    /// How often the network ran for it: more than once where the device's memory is not enough for such a batch.
    pub passes: usize,
}

/// A network could not look at a batch.
#[derive(Debug, Error)]
#[error("the network failed on a batch of {batch}: {reason}")]
pub struct DetectError {
    pub batch: usize,
    pub reason: String,
}

/// Takes records to where consumers find them.
pub trait RecordSink: Send + Sync {
    /// Takes the record of a frame and never waits: a source that must lose nothing is held back by its
    /// permits. The ticket is settled when the record is delivered or given up.
    fn publish(&self, record: &FrameRecord, ticket: Ticket);

    /// Takes a status record; best effort.
    fn report(&self, record: &StatusRecord);

    /// Takes a snapshot; best effort, and of a camera's the latest counts.
    fn snapshot(&self, record: &SnapshotRecord);

    /// Waits until every record is settled, or until `deadline`, at which the rest expires.
    fn drain(&self, deadline: Instant) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}
