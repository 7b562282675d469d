//! How good what was seen is, by what is true. Pure: it is told picture by picture, and gives numbers.

mod classification;
mod coco;
mod counts;
mod report;
mod tracking;
mod truth;

pub use classification::{ClassificationEvaluation, ClassificationSummary, Confusion};
pub use coco::{ClassPrecision, CocoEvaluation, CocoSummary, FoundObject};
pub use counts::ClassCounts;
pub use report::{ObjectsReport, Report};
pub use tracking::{Tracked, TrackingEvaluation, TrackingSummary};
pub use truth::{IgnoredAre, ObjectTarget};
