//! The inference result of a frame, in pixels of the source frame.

use std::time::{Duration, Instant};

use lookout_schema::{Classification, Detection};

use crate::{FrameHeader, Snapshot, Ticket};

/// What a network found in one frame.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InferenceResult {
    /// Sorted by falling score; boxes in pixels of the source frame.
    pub detections: Vec<Detection>,
    /// Sorted by falling probability.
    pub classes: Vec<Classification>,
}

/// A frame's inference result with the frame's header.
#[derive(Debug)]
pub struct FrameResult {
    /// The frame's metadata.
    pub header: FrameHeader,
    /// The frame's entry in its camera's ledger.
    pub ticket: Ticket,
    /// The inference result.
    pub findings: InferenceResult,
    /// The snapshot of the frame, if one was due.
    pub snapshot: Option<Snapshot>,
    /// When processing of the frame's batch started.
    pub batched_at: Instant,
    /// The time of the forward pass of the frame's batch.
    pub infer: Duration,
    /// The time of postprocessing of the frame's batch.
    pub post: Duration,
}
