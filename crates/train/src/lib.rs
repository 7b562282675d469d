//! From pictures with their truth to a network that finds it, and how well it does.
//!
//! A recipe ([`lookout_config::RecipeSettings`]) names a data set ([`data`]), whose pictures are changed by chance
//! ([`augment`]) and fed ([`Feed`]) to the loop ([`Run`]), which fits a network to them and asks a [`Judge`] how good it is.

pub mod augment;
pub mod data;
mod feed;
mod fit;
pub mod judge;
mod loss;
mod sample;

pub use feed::{Feed, FeedSettings, Prepare, prepared_by};
pub use fit::{
    Batch, BatchResult, Batches, Changed, EvaluationTold, FitError, Identity, Judge, Judgment, Optimizer,
    Outcome, Progress, Run, StepTold, Told, thaw_norms, write_compared, write_curves,
};
pub use lookout_measure::ObjectTarget;
pub use loss::{Choose, ClassLoss, ClassLossKind, Criterion, Dice, LossError, Losses, ObjectTensors, Truth};
pub use sample::{Picture, Sample, Target};
