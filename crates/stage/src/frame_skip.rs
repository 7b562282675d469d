//! The frame-skip interval of a camera, by which the worker sheds load.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

/// The N of "one frame in N". It applies to the frames that remain after the camera's own limits. Shared between the
/// worker, which sets it, and the camera, which reads it.
#[derive(Debug, Clone)]
pub struct FrameSkip(Arc<AtomicU32>);

impl Default for FrameSkip {
    fn default() -> Self {
        Self(Arc::new(AtomicU32::new(1)))
    }
}

impl FrameSkip {
    /// Sets the interval: from now on, one frame in `every` is processed; 1 for all.
    pub fn set(&self, every: u32) {
        self.0.store(every.max(1), Relaxed);
    }

    /// Returns the interval, at least 1.
    pub fn every(&self) -> u32 {
        self.0.load(Relaxed)
    }

    /// Returns whether the frame with this number is processed.
    pub fn keeps(&self, number: u64) -> bool {
        number.is_multiple_of(u64::from(self.every()))
    }
}
