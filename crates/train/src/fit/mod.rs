//! Fitting: a network's weights to what is true of pictures.

mod average;
mod checkpoint;
mod error;
mod flat;
mod initial;
mod metrics;
mod optimiser;
mod run;
mod schedule;

pub use self::{
    error::FitError,
    initial::thaw_norms,
    metrics::{EvaluationTold, StepTold, Told},
    optimiser::Optimiser,
    run::{Batch, BatchResult, Batches, Judge, Judgement, Outcome, Run},
};
