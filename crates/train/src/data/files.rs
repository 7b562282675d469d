//! Access to the files of a data set, which may come from an untrusted source.

use std::{
    fs::{self, File},
    io::Read,
    path::{Component, Path, PathBuf},
};

use lookout_config::ExifOrientation;
use lookout_model::{decoded, image_header};
use lookout_schema::Size;

use super::{DataError, boxes};

/// File extensions of the supported image formats.
pub(super) const IMAGE_EXTENSIONS: [&str; 5] = ["jpg", "jpeg", "png", "bmp", "webp"];

pub(super) fn is_image(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    ending.is_some_and(|ending| IMAGE_EXTENSIONS.contains(&ending.as_str()))
}

/// Reads a file of at most `limit` bytes.
pub(super) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, DataError> {
    let file = File::open(path).map_err(DataError::read(path))?;
    let bytes = file.metadata().map_err(DataError::read(path))?.len();
    let too_large = |bytes| DataError::TooLarge { path: path.to_owned(), bytes, limit };
    if bytes > limit {
        return Err(too_large(bytes));
    }
    let mut content = Vec::new();
    // The size from the metadata does not limit a device or a file that grows.
    file.take(limit + 1).read_to_end(&mut content).map_err(DataError::read(path))?;
    let bytes = content.len() as u64;
    if bytes > limit { Err(too_large(bytes)) } else { Ok(content) }
}

/// Reads a text file of at most `limit` bytes and removes its byte-order mark.
pub(super) fn text(path: &Path, limit: u64) -> Result<String, DataError> {
    let bytes = read(path, limit)?;
    let text = decoded(&bytes).ok_or_else(|| DataError::layout(path, "it is not UTF-8 text"))?;
    Ok(text.into_owned())
}

/// Returns the size of an image whose annotation does not contain it.
pub(super) fn size_on_disk(path: &Path, exif: ExifOrientation) -> Result<Size, DataError> {
    let Size { width, height } = image_header(path, exif)?.size;
    let size = boxes::size(f64::from(width), f64::from(height));
    size.ok_or_else(|| DataError::layout(path, format!("an image of {width}x{height} pixels is too large")))
}

/// Converts a path from another system: `\` becomes `/`, as in `a\b.jpg`. An absolute path such as `C:\data\b.jpg`
/// or `/data/b.jpg` belongs to another machine, so only its last component is kept.
pub(super) fn portable(name: &str) -> String {
    let name = name.replace('\\', "/");
    let drive = matches!(name.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic());
    match name.rsplit_once('/') {
        Some((_, last)) if drive || name.starts_with('/') => last.to_owned(),
        _ => name,
    }
}

/// Returns `name` in `folder`, or `None` if the path would leave the folder.
pub(super) fn within(folder: &Path, name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    let stays = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    (stays && !name.is_empty() && !name.contains('\0')).then(|| folder.join(path))
}

/// Returns whether an operating system created a file or folder of this name on its own. macOS stores a file's
/// attributes in a file with the prefix `._` where a disk or an archive cannot hold them.
fn is_litter(name: &str) -> bool {
    name.starts_with("._") || matches!(name, ".DS_Store" | "__MACOSX" | "@eaDir")
}

/// Lists a folder, sorted by name, without files that operating systems create.
pub(super) fn listed(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let entries = fs::read_dir(folder).map_err(DataError::read(folder))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
    let mut paths = paths.map_err(DataError::read(folder))?;
    paths.retain(|path| !name_of(path).is_some_and(|name| is_litter(&name)));
    paths.sort();
    Ok(paths)
}

/// Returns the names of the folders in a folder, sorted.
pub(super) fn folders(folder: &Path) -> Result<Vec<String>, DataError> {
    let folders = listed(folder)?.into_iter().filter(|path| path.is_dir());
    Ok(folders.filter_map(|path| name_of(&path)).filter(|name| !name.starts_with('.')).collect())
}

/// Returns the last component of a path.
pub(super) fn name_of(path: &Path) -> Option<String> {
    path.file_name().map(|name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_outside_of_the_data_set_are_rejected() {
        let folder = Path::new("/data");
        assert_eq!(within(folder, "val/1.jpg"), Some("/data/val/1.jpg".into()));
        for name in ["", "../1.jpg", "/etc/passwd", "a/../../b", "a\0b"] {
            assert_eq!(within(folder, name), None, "{name}");
        }
    }

    #[test]
    fn windows_and_absolute_paths_are_converted() {
        for (name, here) in [
            ("images\\1 a.jpg", "images/1 a.jpg"),
            ("C:\\Users\\me\\1.jpg", "1.jpg"),
            ("/home/me/1.jpg", "1.jpg"),
            ("val/1.jpg", "val/1.jpg"),
            ("..\\1.jpg", "../1.jpg"),
        ] {
            assert_eq!(portable(name), here);
        }
    }

    #[test]
    fn operating_system_metadata_files_are_not_listed() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["._a.xml", "a.xml", ".DS_Store", ".b.xml"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::create_dir(folder.path().join("__MACOSX")).unwrap();
        let names: Vec<String> =
            listed(folder.path()).unwrap().iter().filter_map(|path| name_of(path)).collect();
        assert_eq!(names, [".b.xml", "a.xml"]);
    }

    #[test]
    fn too_large_file_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "12345").unwrap();
        assert_eq!(read(file.path(), 5).unwrap(), b"12345");
        assert!(matches!(read(file.path(), 4), Err(DataError::TooLarge { bytes: 5, limit: 4, .. })));
        assert!(matches!(read(Path::new("/dev/zero"), 4), Err(DataError::TooLarge { .. })));
    }
}
