//! Errors of preprocessing.

use thiserror::Error;

/// Why a decoded frame cannot be brought to the form of the network's input.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum PreprocessError {
    #[error("the decoder returned a frame without a format or without data")]
    NoData,
    #[error("frames of format {0} cannot be converted to RGB")]
    Format(String),
    #[error("a frame cannot be read: it has fewer bytes than its format requires")]
    Unreadable,
}
