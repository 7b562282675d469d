//! What a device thread tells the worker.

use std::time::Duration;

use lookout_stage::{BatchClosed, FrameResult};

/// What happened at a device.
#[derive(Debug)]
pub enum DeviceEvent {
    Inferred(InferredBatch),
    /// The network refused a batch; its frames are counted as dropped.
    BatchFailed {
        frames: usize,
        reason: String,
    },
    /// The device's thread or the network panicked, and what failed is being made anew.
    Restarted {
        reason: String,
    },
}

/// The results of one batch, in the order of its frames.
#[derive(Debug)]
pub struct InferredBatch {
    pub results: Vec<FrameResult>,
    pub closed_by: BatchClosed,
    /// From the batch's arrival at the device to its last result, over the number of streams that were at work:
    /// that long the device was busy with it.
    pub busy: Duration,
    /// How often the network ran for it: more than once where the device's memory is not enough for such a batch.
    pub passes: usize,
}
