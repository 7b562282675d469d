//! How good a network is, by what is true of pictures.
//!
//! [`CocoEvaluation`] and [`ClassificationEvaluation`] measure what they are told, picture by picture;
//! [`see_objects`] and [`see_classes`] show a network a data set's pictures; [`measured`] does both, and [`SetJudge`]
//! does so for a training.

mod classification;
mod coco;
mod counts;
mod error;
mod judge;
mod pictures;
mod seen;

pub use self::{
    classification::{ClassificationEvaluation, ClassificationSummary, Confusion},
    coco::{ClassPrecision, CocoEvaluation, CocoSummary, FoundObject},
    counts::ClassCounts,
    error::MeasureError,
    judge::{ObjectsReport, Report, SetJudge, measured},
    pictures::Look,
    seen::{SeenClasses, SeenObjects, measured_settings, see_classes, see_objects},
};
