//! The integration tests of `lookout-infer`, in one program that is linked once.

mod batcher;
mod faults;
mod overload;
