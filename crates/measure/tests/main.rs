//! The integration tests of `lookout-measure`, in one program that is linked once.

mod coco;
mod tracking;
