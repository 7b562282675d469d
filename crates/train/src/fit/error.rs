//! Why a run did not come to its end.

use std::{error::Error, io, path::PathBuf};

use lookout_model::{ModelError, weights::WeightsError};
use thiserror::Error;

use crate::LossError;

/// Why a run did not come to its end.
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
    Judge(#[source] Box<dyn Error + Send + Sync>),
    #[error("the data set has no batch: `batch` is larger than it, or it is empty")]
    NoBatch,
    #[error(
        "the loss is no number at step {step}: take a smaller `lr`, more `warm_up_steps` or a `clip_norm`"
    )]
    NoNumber { step: u64 },
    #[error("libtorch refused: {reason}")]
    Torch { reason: String },
    #[error("{} cannot be read", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} cannot be written", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error(
        "{} is of another run: {what}; go on with the recipe that it was made by, or begin in another folder",
        path.display()
    )]
    OtherRun { path: PathBuf, what: String },
}
