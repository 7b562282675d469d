//! From pictures with their truth to a network that finds it, and how well it does.
//!
//! (In the making.)

mod fit;
mod loss;
mod sample;

pub use fit::{
    Batch, BatchResult, Batches, EvaluationTold, FitError, Judge, Judgement, Optimiser, Outcome, Run,
    StepTold, Told, thaw_norms,
};
pub use loss::{Choose, ClassLoss, ClassLossKind, Criterion, Dice, LossError, Losses, ObjectTensors, Truth};
pub use sample::{ObjectTarget, Picture, Sample, Target};
