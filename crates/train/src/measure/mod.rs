//! How good a network is, by what is true of pictures.

mod coco;

pub use self::coco::{ClassCounts, ClassPrecision, CocoEvaluation, CocoSummary, FoundObject};
