//! The errors of a training run.

use std::{error::Error, io, path::PathBuf};

use lookout_model::{
    ModelError,
    weights::{FormatError, WeightsError},
};
use thiserror::Error;

use super::Changed;
use crate::LossError;

/// Why a training run failed.
#[derive(Debug, Error)]
pub enum FitError {
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error(transparent)]
    Loss(#[from] LossError),
    #[error("a batch could not be read")]
    Batch(#[source] Box<dyn Error + Send + Sync>),
    #[error("the network could not be evaluated")]
    Evaluation(#[source] Box<dyn Error + Send + Sync>),
    #[error("the data set is smaller than one batch; reduce `batch`, or use a larger data set")]
    DataSetTooSmall,
    #[error(
        "the loss or its gradient is not finite at step {step}: use a smaller `lr`, more `warm_up_steps` or a \
         `clip_norm`"
    )]
    NonFiniteLoss { step: u64 },
    #[error("the network failed: {reason}")]
    Torch { reason: String },
    #[error("the weights are not finite after step {step}; the files of the last save are kept")]
    NonFiniteWeights { step: u64, source: FormatError },
    #[error("[model] `{key}`")]
    InitialWeights { key: &'static str, source: Box<ModelError> },
    #[error("{} cannot be read", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} cannot be written", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error(
        "{} was written with other settings: {}; restore these settings to resume it, or start over with `lookout \
         train RECIPE --restart`, which replaces it", path.display(), differences(changed)
    )]
    CheckpointMismatch { path: PathBuf, changed: Vec<Changed> },
    #[error(
        "{} is not a checkpoint that can be resumed: {what}; start over with `lookout train RECIPE \
         --restart`, which replaces it",
        path.display()
    )]
    InvalidCheckpoint { path: PathBuf, what: &'static str },
}

impl FitError {
    /// Returns whether the run failed before it started because its input is wrong.
    pub fn is_wrong_input(&self) -> bool {
        matches!(
            self,
            Self::CheckpointMismatch { .. }
                | Self::InvalidCheckpoint { .. }
                | Self::InitialWeights { .. }
                | Self::DataSetTooSmall
        )
    }
}

fn differences(changed: &[Changed]) -> String {
    let one = |Changed { key, before, now }: &Changed| format!("`{key}` was {before} and is {now} now");
    changed.iter().map(one).collect::<Vec<_>>().join(", ")
}
