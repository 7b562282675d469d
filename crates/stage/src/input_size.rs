//! The size of the network's input, which the worker may change while cameras run.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use lookout_schema::Size;

/// The size to which cameras scale their frames. The worker sets it, and each camera reads it for every frame.
#[derive(Debug, Clone)]
pub struct InputSize(Arc<AtomicU64>);

impl InputSize {
    /// Creates a shared size.
    pub fn new(size: Size) -> Self {
        Self(Arc::new(AtomicU64::new(packed(size))))
    }

    /// Sets the size, for all clones.
    pub fn set(&self, size: Size) {
        self.0.store(packed(size), Relaxed);
    }

    /// Returns the current size.
    pub fn get(&self) -> Size {
        let [w0, w1, w2, w3, h0, h1, h2, h3] = self.0.load(Relaxed).to_be_bytes();
        Size { width: u32::from_be_bytes([w0, w1, w2, w3]), height: u32::from_be_bytes([h0, h1, h2, h3]) }
    }
}

// Both sides are packed into one atomic, so that no reader combines the width of one size with the height of another.
fn packed(size: Size) -> u64 {
    (u64::from(size.width) << 32) | u64::from(size.height)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_clones_see_the_same_size() {
        let input = InputSize::new(Size { width: 640, height: 384 });
        let camera = input.clone();
        assert_eq!(camera.get(), Size { width: 640, height: 384 });
        input.set(Size { width: u32::MAX, height: 1 });
        assert_eq!(camera.get(), Size { width: u32::MAX, height: 1 });
    }
}
