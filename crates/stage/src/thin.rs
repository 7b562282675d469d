//! How often a camera is looked at while its worker has too much to do.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

/// Of the frames that a camera's own limits leave, one in so many goes on. Shared by the worker, which sets
/// it, and the camera.
#[derive(Debug, Clone)]
pub struct Thinning(Arc<AtomicU32>);

impl Default for Thinning {
    fn default() -> Self {
        Self(Arc::new(AtomicU32::new(1)))
    }
}

impl Thinning {
    /// From now on one in `every` goes on; 1 for all.
    pub fn set(&self, every: u32) {
        self.0.store(every.max(1), Relaxed);
    }

    pub fn every(&self) -> u32 {
        self.0.load(Relaxed)
    }

    /// Whether the frame with this number goes on.
    pub fn keeps(&self, number: u64) -> bool {
        number.is_multiple_of(u64::from(self.every()))
    }
}
