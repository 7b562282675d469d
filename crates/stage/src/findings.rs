//! What a network saw, in pixels of the source frame.

use std::time::{Duration, Instant};

use lookout_schema::{BBox, Classification, Detection, Size};

use crate::{FrameHeader, Ticket};

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
    /// When the frame's batch was begun.
    pub batched_at: Instant,
    /// The forward pass of the frame's batch.
    pub infer: Duration,
    /// Reading the network's output for the batch.
    pub post: Duration,
}

impl Findings {
    /// Adds a detection, its box clipped to the source frame; one without area there is left out.
    pub fn push_clipped(&mut self, detection: Detection, source: Size) {
        if let Some(bbox) = BBox::clipped(detection.bbox, source) {
            self.detections.push(Detection { bbox, ..detection });
        }
    }
}
