//! The integration tests of `lookout-train`, in one binary that is linked once.

mod coco_border;
mod feed;
mod fit;
mod judge;
mod losses;
