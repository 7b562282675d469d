//! The training loop and its parts: optimizer, schedule, checkpoints, metrics.

mod checkpoint;
mod curves;
mod ema;
mod error;
mod flat_parameters;
mod from_recipe;
mod identity;
mod metrics;
mod optimizer;
mod pretrained;
mod progress;
mod schedule;
mod trainer;

pub use self::{
    curves::{write_comparison, write_curves},
    error::FitError,
    identity::{Changed, Identity},
    metrics::{EvaluationMetrics, StepMetrics, TrainingEvent},
    optimizer::Optimizer,
    pretrained::unfreeze_norms,
    progress::Progress,
    trainer::{Batch, BatchResult, Batches, EvaluationResult, Evaluator, Outcome, Trainer},
};
