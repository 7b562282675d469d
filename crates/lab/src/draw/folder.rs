//! The folder of the annotated copies.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

/// A folder for copies of images, each with a unique name.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    names: Vec<OsString>,
}

impl Folder {
    /// Creates `path` if it does not exist, and chooses a name for the copy of each of `images`, which are images.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be created or written to.
    pub(super) fn create(path: &Path, images: &[PathBuf]) -> anyhow::Result<Self> {
        fs::create_dir_all(path)
            .with_context(|| format!("--draw: the folder {} cannot be created", path.display()))?;
        // The only reliable check is to create a file.
        tempfile::tempfile_in(path)
            .with_context(|| format!("--draw: no file can be created in {}", path.display()))?;
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let is_here =
            |image: &&PathBuf| image.canonicalize().is_ok_and(|image| image.parent() == Some(&real));
        let taken = images.iter().filter(is_here).filter_map(|image| image.file_name());
        let taken = taken.map(OsStr::to_owned).collect();
        Ok(Self { path: path.to_owned(), names: names(images, taken) })
    }

    /// Returns the path of the copy of the image with this index on the command line.
    pub(super) fn place(&self, index: usize) -> Option<PathBuf> {
        self.names.get(index).map(|name| self.path.join(name))
    }
}

/// Returns a name for each copy: the image's own name with the extension `.png`, and a number if the name is in
/// `taken`. `taken` starts with the images in the folder itself, and each new name is added.
fn names(images: &[PathBuf], mut taken: BTreeSet<OsString>) -> Vec<OsString> {
    let name = |image: &PathBuf| {
        let stem = image.file_stem().unwrap_or(OsStr::new("picture"));
        let numbered = |number: usize| {
            let mut name = stem.to_owned();
            if number > 1 {
                name.push(format!("-{number}"));
            }
            name.push(".png");
            name
        };
        let mut number = 1;
        while !taken.insert(numbered(number)) {
            number += 1;
        }
        numbered(number)
    };
    images.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_names_are_unique() {
        let images = ["a/cat.jpg", "b/cat.png", "a/cat-2.jpg", "cat", "dog.tar.png", "a/cat.jpg"];
        let images = images.map(PathBuf::from);
        let taken = BTreeSet::from(["dog.tar.png".into()]);
        assert_eq!(
            names(&images, taken),
            ["cat.png", "cat-2.png", "cat-2-2.png", "cat-3.png", "dog.tar-2.png", "cat-4.png"]
        );
    }

    #[test]
    fn input_images_in_the_folder_are_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("cat.png");
        fs::write(&image, "").unwrap();
        let created = Folder::create(folder.path(), &[image]).unwrap();
        assert_eq!(created.place(0), Some(folder.path().join("cat-2.png")));
        assert_eq!(created.place(1), None);
    }

    #[test]
    fn folder_is_created_or_an_error_is_returned() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/er");
        Folder::create(&path, &[]).unwrap();
        assert!(path.is_dir() && fs::read_dir(&path).unwrap().next().is_none());
        fs::write(path.join("file"), "").unwrap();
        let error = Folder::create(&path.join("file/below"), &[]).unwrap_err();
        assert!(error.to_string().contains("cannot be created"), "{error}");
    }
}
