//! The interface of a network on its device.

use std::time::Duration;

use lookout_schema::Size;
use thiserror::Error;

use crate::{DetectionFilter, InferenceResult, Pixels, ResizeTransform};

/// A network on its device, with preprocessing and postprocessing. It is owned by one thread.
pub trait Detect: Send {
    /// Runs the network on `frames` and returns one result per frame, in their order.
    ///
    /// # Errors
    /// Returns a [`DetectError`] if the network fails on the batch.
    fn detect(&mut self, frames: &[DetectFrame<'_>]) -> Result<BatchResult, DetectError>;

    /// Does the one-time work for batches of this number of frames of this size, such as allocation and tuning.
    /// `frames` are examples.
    fn prepare(&mut self, frames: &[DetectFrame<'_>]) -> Result<(), DetectError> {
        self.detect(frames).map(drop)
    }
}

/// One frame in the form that a network needs.
#[derive(Debug, Clone, Copy)]
pub struct DetectFrame<'a> {
    /// The model's input image.
    pub pixels: &'a Pixels,
    /// Size of the source frame.
    pub source: Size,
    /// The resize transform from the source frame to `pixels`.
    pub placement: ResizeTransform,
    /// The filter for the frame's detections.
    pub keep: &'a DetectionFilter,
}

/// The inference results of a batch.
#[derive(Debug)]
pub struct BatchResult {
    /// One per frame, in the frames' order.
    pub findings: Vec<InferenceResult>,
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
    /// Number of frames in the batch.
    pub batch: usize,
    /// The error of the network or its device.
    pub reason: String,
}
