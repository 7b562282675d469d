//! Data sets with one folder per class, as in torchvision's `ImageFolder`.

use std::path::{Path, PathBuf};

use lookout_config::ExifOrientation;

use super::{
    Classes, DataError, DataSet, Entry, IgnoredAre, SkipReason, Skipped,
    files::{folders, is_image, listed, name_of},
};
use crate::sample::Target;

/// Folder names that indicate splits of a data set rather than classes.
const SPLITS: [&str; 6] = ["train", "val", "valid", "validation", "test", "trainval"];

/// Maximum depth of the folders of a class, since a link may create a cycle.
const DEPTH: usize = 16;

/// Opens the data set in `root`, or in its folder `split`. The classes are the folders, sorted by name; images may lie
/// in subfolders.
pub(super) fn open(root: &Path, split: Option<&str>, exif: ExifOrientation) -> Result<DataSet, DataError> {
    let available = folders(root)?;
    let root = match split {
        Some(split) if available.iter().any(|name| name == split) => root.join(split),
        Some(split) => {
            return Err(DataError::NoSplit { path: root.to_owned(), split: split.into(), available });
        }
        None => root.to_owned(),
    };
    let names = folders(&root)?;
    if names.is_empty() {
        return Err(DataError::layout(&root, "it has no folders; each class needs one"));
    }
    if split.is_none() && names.iter().all(|name| SPLITS.contains(&name.as_str())) {
        let what = format!("its folders are splits rather than classes; name one of {}", names.join(", "));
        return Err(DataError::layout(&root, what));
    }
    let mut skipped = Skipped::default();
    for path in listed(&root)?.into_iter().filter(|path| !path.is_dir()) {
        skipped.add(path, "the file", SkipReason::NotAnImage);
    }
    let mut entries = Vec::new();
    for (class, name) in (0..).zip(&names) {
        let folder = root.join(name);
        let mut images = Vec::new();
        collect(&folder, DEPTH, &mut images, &mut skipped)?;
        if images.is_empty() {
            skipped.add(folder, format!("the class `{name}`"), SkipReason::EmptyClass);
        }
        for path in images {
            let short = path.strip_prefix(&root).unwrap_or(&path).to_string_lossy().into_owned();
            let number = entries.len() as u64 + 1;
            let target = Target::Class(vec![(class, 1.0)]);
            entries.push(Entry { name: short, path, number, size: None, target, evaluation_objects: None });
        }
    }
    if entries.is_empty() {
        return Err(DataError::layout(&root, "its folders have no images"));
    }
    let classes = Classes::of_images(names);
    Ok(DataSet { classes, entries, skipped, ignored: IgnoredAre::Crowds, of_images: true, exif })
}

fn collect(
    folder: &Path,
    depth: usize,
    images: &mut Vec<PathBuf>,
    skipped: &mut Skipped,
) -> Result<(), DataError> {
    if depth == 0 {
        return Err(DataError::layout(
            folder,
            "its folders are nested too deeply; check for links to a parent folder",
        ));
    }
    for path in listed(folder)? {
        if path.is_dir() {
            collect(&path, depth - 1, images, skipped)?;
        } else if is_image(&path) && name_of(&path).is_some_and(|name| !name.starts_with('.')) {
            images.push(path);
        } else {
            skipped.add(path, "the file", SkipReason::NotAnImage);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use lookout_schema::Size;

    use super::*;

    fn put(root: &Path, name: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if is_image(&path) {
            image::RgbImage::from_pixel(3, 2, image::Rgb([1, 2, 3])).save(&path).unwrap();
        } else {
            fs::write(path, "").unwrap();
        }
    }

    #[test]
    fn folders_are_classes_and_other_files_are_skipped() {
        let root = tempfile::tempdir().unwrap();
        for name in
            ["train/cat/b.png", "train/cat/more/a.PNG", "train/dog/c.jpg", "train/dog/Thumbs.db", "train/x"]
        {
            put(root.path(), name);
        }
        fs::create_dir(root.path().join("train/eel")).unwrap();
        let error = open(root.path(), None, ExifOrientation::Apply).unwrap_err().to_string();
        assert!(error.contains("splits rather than classes"), "{error}");
        let error = open(root.path(), Some("tset"), ExifOrientation::Apply).unwrap_err().to_string();
        assert!(error.contains("no split `tset`; it has train"), "{error}");
        let set = open(root.path(), Some("train"), ExifOrientation::Apply).unwrap();
        assert_eq!(set.classes().names(), ["cat", "dog", "eel"]);
        let names: Vec<&str> = set.entries().iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["cat/b.png", "cat/more/a.PNG", "dog/c.jpg"]);
        let sample = set.read(2).unwrap();
        assert_eq!(sample.target, Target::Class(vec![(1, 1.0)]));
        assert_eq!(sample.image.size, Size { width: 3, height: 2 });
        let counts = set.skipped().counts();
        assert_eq!((counts[&SkipReason::NotAnImage], counts[&SkipReason::EmptyClass]), (2, 1));
        set.check_images().unwrap();
    }

    #[test]
    fn symbolic_link_cycle_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "cat/a.png");
        std::os::unix::fs::symlink(root.path().join("cat"), root.path().join("cat/again")).unwrap();
        assert!(
            open(root.path(), None, ExifOrientation::Apply).unwrap_err().to_string().contains("too deep")
        );
    }

    #[test]
    fn folder_without_classes_or_images_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        assert!(
            open(root.path(), None, ExifOrientation::Apply).unwrap_err().to_string().contains("no folder")
        );
        put(root.path(), "cat/notes.txt");
        assert!(
            open(root.path(), None, ExifOrientation::Apply).unwrap_err().to_string().contains("no images")
        );
        assert!(open(&root.path().join("nowhere"), None, ExifOrientation::Apply).is_err());
    }
}
