//! Metrics for detectors, classifiers and trackers. The code does no I/O: it receives predictions with
//! their ground truth image by image, and returns numbers.

mod bench_profile;
mod classification;
mod coco;
mod counts;
mod report;
mod sequences;
mod tracking;
mod truth;

pub use bench_profile::{BatchLatencyMs, BenchProfile, Measurement};
pub use classification::{ClassificationEvaluation, ClassificationSummary, Confusion};
pub use coco::{ClassPrecision, CocoEvaluation, CocoSummary, FoundObject};
pub use counts::ClassCounts;
pub use report::{ObjectsReport, Report};
pub use sequences::{
    InvalidSequence, MotFiles, ObjectRole, SequenceDetection, SequenceFrame, SequenceObject,
    TrackingSequence, read_kitti, read_mot_challenge,
};
pub use tracking::{Tracked, TrackingEvaluation, TrackingSummary};
pub use truth::{IgnoredAre, ObjectTarget};
