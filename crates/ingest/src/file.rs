//! Checks of a file before a pipeline opens it.

use std::{fs, io, path::Path};

use lookout_schema::RetryReason;

use crate::Fault;

/// Checks that `path` can be read, so that common mistakes get a clear message instead of GStreamer's.
///
/// # Errors
/// The file does not exist, is a folder, is empty or cannot be opened.
pub(crate) fn check(path: &Path) -> Result<(), Fault> {
    let shown = path.display();
    let meta = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let detail = format!("{shown}: there is no such file; check the path in `uri`");
            return Err(Fault::new(RetryReason::NotFound, detail));
        }
        other => other.map_err(|error| unreadable(path, &error))?,
    };
    if meta.is_dir() {
        let detail = format!("{shown}: this is a folder; `uri` must be the path of a video file");
        return Err(Fault::new(RetryReason::NotFound, detail));
    }
    if meta.is_file() && meta.len() == 0 {
        let detail = format!("{shown}: the file is empty; check how it was written or copied");
        return Err(Fault::new(RetryReason::Undecodable, detail));
    }
    if !meta.is_file() {
        // To open a named pipe would block until its writer opens it.
        return Ok(());
    }
    fs::File::open(path).map(drop).map_err(|error| unreadable(path, &error))
}

pub(crate) fn unreadable(path: &Path, error: &io::Error) -> Fault {
    let detail = format!("{}: the file cannot be read: {error}", path.display());
    Fault::new(RetryReason::PipelineError, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_files_folders_and_empty_files_have_specific_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clip.mp4");
        let missing = check(&path).unwrap_err();
        assert_eq!(missing.reason, RetryReason::NotFound);
        assert!(missing.detail.contains("clip.mp4") && missing.detail.contains("no such file"));
        fs::write(&path, "").unwrap();
        let empty = check(&path).unwrap_err();
        assert_eq!(empty.reason, RetryReason::Undecodable);
        assert!(empty.detail.contains("empty"));
        assert!(check(folder.path()).unwrap_err().detail.contains("folder"));
        fs::write(&path, "x").unwrap();
        assert_eq!(check(&path), Ok(()));
    }
}
