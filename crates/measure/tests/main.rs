//! The integration tests of `lookout-measure`, in one binary that is linked once.

mod bench_profile;
mod coco;
mod tracking;
