//! Reads TorchScript files, and recognizes files that are not TorchScript modules.

use std::{fs, io::Cursor, path::Path};

use zip::ZipArchive;

use crate::{script_error::ScriptError, weights::digest};

/// Returns the bytes of a module file and their digest.
pub(super) fn read(path: &Path) -> Result<(Vec<u8>, String), ScriptError> {
    let failed = |source| ScriptError::Read { path: path.to_owned(), source };
    // Reading a pipe or a device might never end.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(ScriptError::NotAFile { path: path.to_owned() });
    }
    let file = fs::read(path).map_err(failed)?;
    if let Some(what) = something_else(&file) {
        return Err(ScriptError::NotAModule { path: path.to_owned(), what });
    }
    let digest = digest(&file);
    Ok((file, digest))
}

/// Describes a file that is not a TorchScript module, because libtorch's error texts for such files are not
/// helpful. Returns `None` for a module.
fn something_else(file: &[u8]) -> Option<&'static str> {
    const WEIGHTS: &str = "it holds weights and no program; set `arch` to the network of these weights, or export \
                           a module with `torch.jit.script(model).save(FILE)` or `torch.jit.trace`";
    if !file.starts_with(b"PK\x03\x04") {
        // `torch.save` before torch 1.6 starts with a pickle, and safetensors with a length and a JSON object.
        let weights = file.starts_with(b"\x80\x02") || file.get(8) == Some(&b'{');
        return Some(if weights { WEIGHTS } else { "torch did not write it, or it is damaged" });
    }
    let Ok(archive) = ZipArchive::new(Cursor::new(file)) else { return Some("its zip archive is damaged") };
    let has = |part: &str| archive.file_names().flatten().any(|name| name.contains(part));
    match (has("/constants.pkl") && has("/code/"), has("/data.pkl")) {
        (true, _) => None,
        (false, true) => Some(WEIGHTS),
        (false, false) => Some(
            "it is a zip archive of another kind, perhaps of `torch.export`, which libtorch cannot run; \
             export with `torch.jit.script(model).save(FILE)` or `torch.jit.trace`",
        ),
    }
}
