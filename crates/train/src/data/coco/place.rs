//! Where a COCO data set's files are: as COCO's archives unpack, and as others lay them out.

use std::path::{Path, PathBuf};

use crate::data::{
    DataError,
    files::{listed, name_of, portable, within},
};

/// How COCO calls the files with objects.
const INSTANCES: &str = "instances_";
/// How Roboflow calls them, one in the folder of each split.
const ROBOFLOW: &str = "_annotations.coco.json";

/// The annotations of `split` in `path`, which is a folder or the file itself.
pub(super) fn annotations(path: &Path, split: Option<&str>) -> Result<PathBuf, DataError> {
    if !path.is_dir() {
        return match split {
            None => Ok(path.to_owned()),
            Some(split) => Err(DataError::layout(
                path,
                format!(
                    "it is a file, and the split `{split}` is looked for in a folder; leave one of the two out"
                ),
            )),
        };
    }
    let all = candidates(path)?;
    match split {
        Some(split) => {
            let found = all.iter().find(|(name, _)| name == split).map(|(_, file)| file.clone());
            let there = || all.iter().map(|(name, _)| name.clone()).collect();
            found.ok_or_else(|| DataError::NoSplit {
                path: path.to_owned(),
                split: split.into(),
                there: there(),
            })
        }
        None => match &all[..] {
            [(_, file)] => Ok(file.clone()),
            [] => {
                Err(DataError::layout(path, "there is no JSON with annotations in it or its `annotations/`"))
            }
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

/// Each file of annotations and its split's name.
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
    // COCO's folder holds its captions and key points too, which are no objects of their own.
    if found.iter().any(|(_, path)| is_instances(path)) {
        found.retain(|(_, path)| is_instances(path));
    }
    Ok(found)
}

fn is_instances(path: &Path) -> bool {
    name_of(path).is_some_and(|name| name.starts_with(INSTANCES))
}

/// Finds the images of a file of annotations, each by itself: they may lie in several folders.
pub(super) struct Places {
    folders: Vec<PathBuf>,
    /// The folder of the last image that was found: mostly that of the next, too.
    last: Option<usize>,
}

impl Places {
    /// Those around the file `annotations`, the likelier ones first.
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

    /// Where the image `name` is; of one that is nowhere, where it would be expected, beside the last that was found.
    /// None where the name leads out of the data set.
    pub(super) fn of(&mut self, name: &str) -> Option<PathBuf> {
        let portable = portable(name);
        let order = self.last.into_iter().chain(0..self.folders.len());
        // A file of just this name goes before one that only another system would call so.
        for place in order {
            for name in [name, &portable] {
                if let Some(path) = within(&self.folders[place], name).filter(|path| path.is_file()) {
                    self.last = Some(place);
                    return Some(path);
                }
            }
        }
        within(&self.folders[self.last.unwrap_or(0)], &portable)
    }
}
