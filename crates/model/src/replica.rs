//! A network that can be replicated for other threads.

use lookout_stage::Detect;

/// A network that can be replicated for other threads.
pub trait Replica: Detect {
    /// Returns the same network for another thread.
    ///
    /// It shares the weights without a copy. After the first batch, these are in the layout of the processor.
    fn replica(&self) -> Box<dyn Replica>;
}
