//! Reloading of a network that failed.

use std::sync::Arc;

use lookout_stage::Detect;

/// Reloads a network after it has panicked or kept failing, or returns why it cannot be loaded.
pub type ReloadModel = Arc<dyn Fn() -> Result<Box<dyn Detect>, ReloadError> + Send + Sync>;

/// Why a network could not be reloaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReloadError {
    /// Reloading failed and is tried again.
    Failed(String),
    /// This process cannot use its device any more: after some errors, a GPU refuses all further work of the process.
    DeviceLost(String),
}
