//! The integration tests of `lookout-train`, in one binary that is linked once.

mod coco_border;
mod evaluate;
mod loader;
mod losses;
mod trainer;
