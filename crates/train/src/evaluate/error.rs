//! Errors of evaluations.

use thiserror::Error;

use crate::data::DataError;

/// Why a network could not be evaluated.
#[derive(Debug, Error)]
pub enum EvaluationError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error("the network failed: {reason}")]
    Network { reason: String },
    #[error(
        "the network has {network} classes and the data set has {set}; give the names of \
         the network's classes in its order"
    )]
    Classes { network: usize, set: usize },
    #[error("the network is a classifier and the data set has objects; use a data set of kind `folder`")]
    NeedsImageClasses,
    #[error(
        "the network is a detector and the data set has image classes; use a data set of kind `coco` or `voc`"
    )]
    NeedsObjects,
    #[error("TorchScript modules cannot be evaluated; use one of {}", lookout_config::arch_list())]
    Script,
    #[error("the image `{name}` cannot be read: {reason}")]
    Image { name: String, reason: String },
    #[error("a thread that reads images has stopped")]
    Reader,
}
