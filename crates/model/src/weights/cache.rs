//! Where what was fetched is kept.

use std::{env, path::PathBuf};

use super::WeightsError;

/// The cache folder: `$LOOKOUT_CACHE`, else `~/.cache/lookout`. It need not be there yet. Weights lie
/// in its folder `weights`.
///
/// # Errors
///
/// When neither `LOOKOUT_CACHE` nor `HOME` is set.
pub fn cache_dir() -> Result<PathBuf, WeightsError> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let own = set("LOOKOUT_CACHE");
    own.or_else(|| Some(set("HOME")?.join(".cache/lookout"))).ok_or(WeightsError::NoCache)
}
