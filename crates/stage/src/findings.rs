//! What a network saw, in pixels of the source frame.

use std::time::{Duration, Instant};

use lookout_schema::{Classification, Detection};

use crate::{FrameHeader, Snapshot, Ticket};

/// What a network saw in one frame.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings {
    /// Most certain first; boxes in pixels of the source frame.
    pub detections: Vec<Detection>,
    /// Most probable first.
    pub classes: Vec<Classification>,
}

/// A frame's findings, rejoined with its header.
#[derive(Debug)]
pub struct FrameResult {
    pub header: FrameHeader,
    pub ticket: Ticket,
    pub findings: Findings,
    pub snapshot: Option<Snapshot>,
    /// When the frame's batch was begun.
    pub batched_at: Instant,
    /// The forward pass of the frame's batch.
    pub infer: Duration,
    /// Reading the network's output for the batch.
    pub post: Duration,
}
