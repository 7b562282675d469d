//! Reads state dicts from files.

use std::{fs, path::Path};

use sha2::{Digest, Sha256};

use super::{
    FormatError, StateDict, WeightsError, finite, names::Named, safetensors_file, torch_legacy, torch_zip,
};
use crate::impostor::impostor;

impl StateDict {
    /// Reads a state dict from the content of a file. The first bytes decide which of the three formats it has.
    ///
    /// # Errors
    ///
    /// The content has none of the formats, is damaged, requests anything but tensors, or has numbers that are
    /// NaN or infinite.
    pub fn from_bytes(file: &[u8]) -> Result<Self, FormatError> {
        Ok(parsed(file)?.0)
    }

    /// Checks that all tensors are finite and no variance is negative.
    ///
    /// # Errors
    ///
    /// [`FormatError::NotFinite`] or [`FormatError::NegativeVariance`], with the name of the first invalid tensor.
    pub fn check(&self) -> Result<(), FormatError> {
        finite::check(&self.tensors)
    }
}

/// Returns the state dict, and a log text about removed wrappers and prefixes.
fn parsed(file: &[u8]) -> Result<(StateDict, Option<String>), FormatError> {
    let named = if file.starts_with(b"PK\x03\x04") {
        torch_zip::read(file)?
    } else if torch_legacy::is_legacy(file) {
        torch_legacy::read(file)?
    } else if let Some(what) = impostor(file) {
        return Err(FormatError::Impostor { what });
    } else if safetensors_file::is_safetensors(file) {
        safetensors_file::read(file)?
    } else {
        return Err(FormatError::Unknown);
    };
    let Named { tensors, removed, others } = named;
    finite::check(&tensors)?;
    let removed = (!removed.is_empty()).then(|| {
        let others =
            if others.is_empty() { String::new() } else { format!("; it also has {}", others.join(", ")) };
        format!("{}{others}", removed.join(" "))
    });
    Ok((StateDict { tensors, digest: digest(file) }, removed))
}

/// Reads a `.safetensors` file or a file that `torch.save` wrote, in its current format (zip) or that from
/// before torch 1.6. The content decides, not the file name. No code from the file is run.
///
/// For a checkpoint, returns the state dict at its top level or under a usual key, such as `state_dict` or
/// `model`. Prefixes that wrappers add to every name are removed (`module.` of DataParallel, `_orig_mod.` of
/// `torch.compile`, `model.` of a Lightning module), and the log names them.
///
/// # Errors
///
/// The file cannot be read, is damaged, requests anything but tensors, or has numbers that are NaN or infinite.
pub fn read(path: &Path) -> Result<StateDict, WeightsError> {
    let failed = |source| WeightsError::Read { path: path.to_owned(), source };
    // Reading a pipe or a device might never end.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(WeightsError::NotAFile { path: path.to_owned() });
    }
    let file = fs::read(path).map_err(failed)?;
    let parsed = parsed(&file).map_err(|source| WeightsError::Format { path: path.to_owned(), source })?;
    let (state, removed) = parsed;
    if let Some(removed) = removed {
        tracing::warn!(file = %path.display(), removed, "removed a wrapper's prefix from the tensor names");
    }
    Ok(state)
}

/// Returns `sha256:` and the 64 hex digits of the SHA-256 of `file`.
pub(crate) fn digest(file: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(file)))
}
