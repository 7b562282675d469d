//! From pictures with their truth to a network that finds it, and how well it does.
//!
//! (In the making.)

pub mod augment;
pub mod data;
mod drawing;
mod feed;
mod fit;
mod loss;
pub mod measure;
mod sample;

pub use feed::{Feed, FeedSettings, Prepare};
pub use fit::{
    Batch, BatchResult, Batches, EvaluationTold, FitError, Judge, Judgement, Optimiser, Outcome, Progress,
    Run, StepTold, Told, thaw_norms, write_curves,
};
pub use loss::{Choose, ClassLoss, ClassLossKind, Criterion, Dice, LossError, Losses, ObjectTensors, Truth};
pub use sample::{ObjectTarget, Picture, Sample, Target};
