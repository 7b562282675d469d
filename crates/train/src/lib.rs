//! Trains networks on images with ground truth and evaluates them.
//!
//! A recipe ([`lookout_config::RecipeSettings`]) names a data set ([`data`]). Its images are augmented at random
//! ([`augment`]) and passed in batches ([`Feed`]) to the training loop ([`Run`]), which evaluates the network with a
//! [`Judge`].

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
    Outcome, Progress, Run, StepTold, Told, unfreeze_norms, write_compared, write_curves,
};
pub use lookout_measure::ObjectTarget;
pub use loss::{Choose, ClassLoss, ClassLossKind, Criterion, Dice, LossError, Losses, ObjectTensors, Truth};
pub use sample::{Picture, Sample, Target};
