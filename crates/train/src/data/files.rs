//! Files of a data set, which may come from anywhere.

use std::{
    fs::{self, File},
    io::Read,
    path::{Component, Path, PathBuf},
};

use super::DataError;

/// The endings of pictures that can be read.
pub(super) const PICTURES: [&str; 5] = ["jpg", "jpeg", "png", "bmp", "webp"];

pub(super) fn is_picture(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    ending.is_some_and(|ending| PICTURES.contains(&ending.as_str()))
}

/// Reads a file of `limit` bytes at most.
pub(super) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, DataError> {
    let file = File::open(path).map_err(DataError::read(path))?;
    let bytes = file.metadata().map_err(DataError::read(path))?.len();
    let too_large = |bytes| DataError::TooLarge { path: path.to_owned(), bytes, limit };
    if bytes > limit {
        return Err(too_large(bytes));
    }
    let mut content = Vec::new();
    // A device or a file that grows says nothing of what is still to come.
    file.take(limit + 1).read_to_end(&mut content).map_err(DataError::read(path))?;
    let bytes = content.len() as u64;
    if bytes > limit { Err(too_large(bytes)) } else { Ok(content) }
}

/// `name` in `folder`, where it leads nowhere else.
pub(super) fn within(folder: &Path, name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    let stays = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    (stays && !name.is_empty() && !name.contains('\0')).then(|| folder.join(path))
}

/// What lies in a folder, sorted by name.
pub(super) fn listed(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let entries = fs::read_dir(folder).map_err(DataError::read(folder))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
    let mut paths = paths.map_err(DataError::read(folder))?;
    paths.sort();
    Ok(paths)
}

/// The folders in a folder by name, sorted.
pub(super) fn folders(folder: &Path) -> Result<Vec<String>, DataError> {
    let folders = listed(folder)?.into_iter().filter(|path| path.is_dir());
    Ok(folders.filter_map(|path| name_of(&path)).filter(|name| !name.starts_with('.')).collect())
}

/// A file's own name.
pub(super) fn name_of(path: &Path) -> Option<String> {
    path.file_name().map(|name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_nowhere_else() {
        let folder = Path::new("/data");
        assert_eq!(within(folder, "val/1.jpg"), Some("/data/val/1.jpg".into()));
        for name in ["", "../1.jpg", "/etc/passwd", "a/../../b", "a\0b"] {
            assert_eq!(within(folder, name), None, "{name}");
        }
    }

    #[test]
    fn a_file_above_the_limit_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "12345").unwrap();
        assert_eq!(read(file.path(), 5).unwrap(), b"12345");
        assert!(matches!(read(file.path(), 4), Err(DataError::TooLarge { bytes: 5, limit: 4, .. })));
        assert!(matches!(read(Path::new("/dev/zero"), 4), Err(DataError::TooLarge { .. })));
    }
}
