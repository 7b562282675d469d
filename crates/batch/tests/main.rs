//! The integration tests of `lookout-batch`, in one program that is linked once.

mod batcher;
mod overload;
