//! Locations of the files of a COCO data set: as COCO's archives unpack them, and in the layouts of other tools.

use std::path::{Path, PathBuf};

use crate::data::{
    DataError,
    files::{listed, name_of, portable, within},
};

/// The prefix of COCO's files with object annotations.
const INSTANCES: &str = "instances_";
/// Roboflow's name of the annotation file in the folder of each split.
const ROBOFLOW: &str = "_annotations.coco.json";

/// Returns the annotation file of `split` in `path`, which is a folder or the file itself.
pub(super) fn annotation_file(path: &Path, split: Option<&str>) -> Result<PathBuf, DataError> {
    if !path.is_dir() {
        return match split {
            None => Ok(path.to_owned()),
            Some(split) => Err(DataError::layout(
                path,
                format!(
                    "it is a file, and a split such as `{split}` is a file in a folder; omit the \
                     split, or name the folder"
                ),
            )),
        };
    }
    let all = candidates(path)?;
    match split {
        Some(split) => {
            let found = all.iter().find(|(name, _)| name == split).map(|(_, file)| file.clone());
            let available = || all.iter().map(|(name, _)| name.clone()).collect();
            found.ok_or_else(|| DataError::NoSplit {
                path: path.to_owned(),
                split: split.into(),
                available: available(),
            })
        }
        None => match &all[..] {
            [(_, file)] => Ok(file.clone()),
            [] => Err(DataError::layout(
                path,
                "neither it nor its folder `annotations` has a JSON file with annotations",
            )),
            several => {
                let names: Vec<&str> = several.iter().map(|(name, _)| name.as_str()).collect();
                Err(DataError::layout(
                    path,
                    format!("it has several splits; name one of {}", names.join(", ")),
                ))
            }
        },
    }
}

/// Returns all annotation files with the names of their splits.
fn candidates(root: &Path) -> Result<Vec<(String, PathBuf)>, DataError> {
    let mut found = Vec::new();
    for folder in [root.to_owned(), root.join("annotations")].iter().filter(|folder| folder.is_dir()) {
        for path in listed(folder)? {
            let name = name_of(&path).unwrap_or_default();
            if path.is_dir() {
                let inner = path.join(ROBOFLOW);
                if inner.is_file() {
                    found.push((name, inner));
                }
            } else if let Some(stem) = name.strip_suffix(".json") {
                found.push((stem.strip_prefix(INSTANCES).unwrap_or(stem).to_owned(), path));
            }
        }
    }
    // COCO's folder also holds captions and keypoints, which are not object annotations.
    if found.iter().any(|(_, path)| is_instances(path)) {
        found.retain(|(_, path)| is_instances(path));
    }
    Ok(found)
}

fn is_instances(path: &Path) -> bool {
    name_of(path).is_some_and(|name| name.starts_with(INSTANCES))
}

/// Finds the images of an annotation file. Each is searched separately, since they may lie in several folders.
pub(super) struct ImageFolders {
    folders: Vec<PathBuf>,
    /// Index of the folder of the last image that was found, which often holds the next one too.
    last: Option<usize>,
}

impl ImageFolders {
    /// Returns the folders around the file `annotations` in which images may lie, the likelier ones first.
    pub(super) fn around(annotations: &Path) -> Self {
        let here = annotations.parent().unwrap_or(Path::new(""));
        let above = here.parent().unwrap_or(Path::new(""));
        let name = name_of(annotations).unwrap_or_default();
        let split = name.trim_end_matches(".json").trim_start_matches(INSTANCES);
        let folders = vec![
            here.to_owned(),
            here.join(split),
            above.join(split),
            above.join("images").join(split),
            here.join("images"),
            above.join("images"),
            above.to_owned(),
        ];
        Self { folders, last: None }
    }

    /// Returns the path of the image `name`. If there is no such file, returns the path in the folder of the last image
    /// that was found. Returns `None` if the name leads out of the data set.
    pub(super) fn find(&mut self, name: &str) -> Option<PathBuf> {
        let portable = portable(name);
        let order = self.last.into_iter().chain(0..self.folders.len());
        // A file with exactly this name has priority over one with the converted name.
        for index in order {
            for name in [name, &portable] {
                if let Some(path) = within(&self.folders[index], name).filter(|path| path.is_file()) {
                    self.last = Some(index);
                    return Some(path);
                }
            }
        }
        within(&self.folders[self.last.unwrap_or(0)], &portable)
    }
}
