//! The integration tests of `lookout-batch`, in one binary that is linked once.

mod batcher;
mod overload;
