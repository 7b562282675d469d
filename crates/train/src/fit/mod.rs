//! The training loop and its parts: optimizer, schedule, checkpoints, metrics.

mod average;
mod checkpoint;
mod curves;
mod error;
mod flat;
mod identity;
mod initial;
mod metrics;
mod optimizer;
mod progress;
mod run;
mod schedule;
mod start;

pub use self::{
    curves::{write_compared, write_curves},
    error::FitError,
    identity::{Changed, Identity},
    initial::unfreeze_norms,
    metrics::{EvaluationTold, StepTold, Told},
    optimizer::Optimizer,
    progress::Progress,
    run::{Batch, BatchResult, Batches, Judge, Judgment, Outcome, Run},
};
