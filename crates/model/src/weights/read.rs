//! State dicts out of files.

use std::{collections::BTreeMap, fmt::Write, fs, path::Path};

use sha2::{Digest, Sha256};
use tch::Tensor;

use super::{FormatError, WeightsError, finite, names::Named, safetensors_file, torch_legacy, torch_zip};
use crate::impostor::impostor;

/// Named tensors, on the CPU and as the file has them. Some may share their memory.
#[derive(Debug)]
pub struct StateDict {
    pub tensors: BTreeMap<String, Tensor>,
    /// `sha256:` and the 64 hex digits of the file.
    pub digest: String,
}

impl StateDict {
    /// Reads a file's content; which of the three formats it is shows in its first bytes.
    ///
    /// # Errors
    ///
    /// When it is none of them, is damaged, asks for anything but tensors, or has numbers that are NaN or infinite.
    pub fn from_bytes(file: &[u8]) -> Result<Self, FormatError> {
        Ok(parsed(file)?.0)
    }

    /// Checks that all tensors are finite and no variance is negative.
    ///
    /// # Errors
    ///
    /// The first tensor that is not, by its name.
    pub fn check(&self) -> Result<(), FormatError> {
        finite::check(&self.tensors)
    }
}

/// The state dict, and what the log has to say of its names.
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

/// Reads a `.safetensors` file or one that `torch.save` wrote, in its format of today (zip) or of before
/// torch 1.6. The content decides, not the name. No code from the file is run.
///
/// Of a checkpoint, the state dict is taken that lies at its top or under a usual key, such as `state_dict` or
/// `model`. What wrappers put before every name (`module.` of DataParallel, `_orig_mod.` of `torch.compile`, `model.` of
/// a Lightning module) is removed. The log says what was.
///
/// # Errors
///
/// When the file cannot be read, is damaged, asks for anything but tensors, or has numbers that are NaN or infinite.
pub fn read(path: &Path) -> Result<StateDict, WeightsError> {
    let failed = |source| WeightsError::Read { path: path.to_owned(), source };
    // A pipe or a device might never end.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(WeightsError::NotAFile { path: path.to_owned() });
    }
    let file = fs::read(path).map_err(failed)?;
    let parsed = parsed(&file).map_err(|source| WeightsError::Format { path: path.to_owned(), source })?;
    let (state, removed) = parsed;
    if let Some(removed) = removed {
        tracing::warn!(file = %path.display(), removed, "took the weights out of their wrapper: the names begin without it");
    }
    Ok(state)
}

/// `sha256:` and 64 hex digits.
pub(crate) fn digest(file: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(file)))
}

/// Lower-case hex digits, two a byte.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String does not fail.
        _ = write!(hex, "{byte:02x}");
        hex
    })
}
