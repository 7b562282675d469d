//! Trains networks on images with ground truth and evaluates them.
//!
//! A recipe ([`lookout_config::RecipeSettings`]) names a data set ([`data`]). Its images are augmented at random
//! ([`augment`]) and passed in batches ([`DataLoader`]) to the training loop ([`Trainer::fit`]), which evaluates the
//! network with an [`Evaluator`].

pub mod augment;
pub mod data;
pub mod evaluate;
mod fit;
mod loader;
mod loss;
mod sample;

pub use fit::{
    Batch, BatchResult, Batches, Changed, EvaluationMetrics, EvaluationResult, Evaluator, FitError, Identity,
    Optimizer, Outcome, Progress, StepMetrics, Trainer, TrainingEvent, unfreeze_norms, write_comparison,
    write_curves,
};
pub use loader::{DataLoader, LoadSample, LoaderSettings, load_augmented};
pub use lookout_measure::ObjectTarget;
pub use loss::{
    ClassLoss, ClassLossKind, Criterion, LossError, Losses, ObjectTensors, RandomSubsetSampler,
    SubsetSampler, Truth,
};
pub use sample::{Sample, SampleImage, Target};
