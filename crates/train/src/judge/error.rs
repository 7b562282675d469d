//! Errors of evaluations.

use thiserror::Error;

use crate::data::DataError;

/// Why a network could not be evaluated.
#[derive(Debug, Error)]
pub enum MeasureError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error("the network failed: {reason}")]
    Network { reason: String },
    #[error(
        "the network tells {network} classes apart and the data set {set}; name the network's classes in its order"
    )]
    Classes { network: usize, set: usize },
    #[error("the network is a classifier and the data set is of objects; take one of kind `folder`")]
    NeedsPictures,
    #[error(
        "the network is a detector and the data set is of whole pictures; take one of kind `coco` or `voc`"
    )]
    NeedsObjects,
    #[error("a TorchScript module is not measured; take one of {}", lookout_config::ARCHS.join(", "))]
    Script,
    #[error("the picture `{name}` could not be read: {reason}")]
    Picture { name: String, reason: String },
    #[error("a thread that reads pictures has ended")]
    Reader,
}
