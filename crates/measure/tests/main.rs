//! The integration tests of `lookout-measure`, in one binary that is linked once.

mod coco;
mod tracking;
