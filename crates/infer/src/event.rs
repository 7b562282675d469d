//! The events that a device thread sends to the worker.

use std::time::Duration;

use lookout_stage::{BatchClosed, FrameResult};

/// An event of a device.
#[derive(Debug)]
pub enum DeviceEvent {
    Inferred(InferredBatch),
    /// The network failed on a batch, whose frames are counted as dropped.
    BatchFailed {
        frames: usize,
        reason: String,
    },
    /// The device's thread or the network panicked or kept failing, and the network is being reloaded.
    Restarted {
        reason: String,
    },
    /// The process cannot use the device any more. The stream processes no more batches.
    Lost {
        reason: String,
    },
}

/// The results of one batch, in the order of its frames.
#[derive(Debug)]
pub struct InferredBatch {
    pub results: Vec<FrameResult>,
    pub closed_by: BatchClosed,
    /// The device time of the batch: the time from its arrival at the device to its last result, divided by the number
    /// of streams that were active.
    pub busy: Duration,
    /// The number of forward passes: more than one if the device's memory is too small for a batch of this size.
    pub passes: usize,
}
