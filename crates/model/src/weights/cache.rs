//! The cache folder for fetched files.

use std::{env, path::PathBuf};

use super::WeightsError;

/// Returns the cache folder: `$LOOKOUT_CACHE`, or `~/.cache/lookout` if that is not set. The folder may not
/// exist yet. Weights are stored in its subfolder `weights`.
///
/// # Errors
///
/// Neither `LOOKOUT_CACHE` nor `HOME` is set.
pub fn cache_dir() -> Result<PathBuf, WeightsError> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let own = set("LOOKOUT_CACHE");
    own.or_else(|| Some(set("HOME")?.join(".cache/lookout"))).ok_or(WeightsError::NoCache)
}
