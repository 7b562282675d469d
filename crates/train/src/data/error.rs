//! Errors of data sets.

use std::{
    io,
    path::{Path, PathBuf},
};

use lookout_model::ModelError;
use lookout_schema::Size;
use thiserror::Error;

/// Why a data set or an image cannot be read: the file, the position in it, the reason, and what to do.
#[derive(Debug, Error)]
pub enum DataError {
    #[error(
        "`{text}` is not a data set; use KIND:PATH, where KIND is `folder` (one folder per class), `coco` (its JSON \
         file, or the folder that has `annotations/`) or `voc` (the folder that has `Annotations/`)"
    )]
    Kind { text: String },
    #[error("{} cannot be read", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} has {bytes} bytes, and the limit for such a file is {limit}", path.display())]
    TooLarge { path: PathBuf, bytes: u64, limit: u64 },
    #[error("{} is not a COCO file ({expected})", path.display())]
    Json { path: PathBuf, expected: &'static str, source: serde_json::Error },
    #[error("{} is not an XML file", path.display())]
    Xml { path: PathBuf, source: roxmltree::Error },
    #[error("{}, {location}: {what}", path.display())]
    Invalid { path: PathBuf, location: String, what: String },
    #[error("{} has no split `{split}`; {}", path.display(), known(available))]
    NoSplit { path: PathBuf, split: String, available: Vec<String> },
    #[error("{}: {what}", path.display())]
    Layout { path: PathBuf, what: String },
    #[error("{}", unusable(*missing, *unreadable, *of, listed))]
    UnusableImages { missing: usize, unreadable: usize, of: usize, listed: Vec<String> },
    #[error(
        "{what} has no object {purpose}: {images} images, {ignored} objects that are ignored ({kind}), \
         {skipped} skipped; check the data set, its split and the spelling of `classes`"
    )]
    NoObjects {
        what: String,
        purpose: &'static str,
        images: usize,
        ignored: usize,
        kind: &'static str,
        skipped: usize,
    },
    #[error("the data set has no class {}; it has {}", quoted(missing), quoted(available))]
    NoClasses { missing: Vec<String>, available: Vec<String> },
    #[error(transparent)]
    Image(#[from] ModelError),
    #[error(
        "{} is {}x{} and its annotation is for {}x{}, so its boxes would be misplaced; correct one of the two, or \
         remove the image{}", path.display(), found.width, found.height, annotated.width, annotated.height, rotation_hint(*annotated, *found)
    )]
    Size { path: PathBuf, annotated: Size, found: Size },
}

impl DataError {
    pub(super) fn size(path: &Path, annotated: Size, found: Size) -> Self {
        Self::Size { path: path.to_owned(), annotated, found }
    }

    pub(super) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Read { path: path.to_owned(), source }
    }

    pub(super) fn invalid(path: &Path, location: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Invalid { path: path.to_owned(), location: location.into(), what: what.into() }
    }

    pub(super) fn layout(path: &Path, what: impl Into<String>) -> Self {
        Self::Layout { path: path.to_owned(), what: what.into() }
    }
}

/// Returns a hint for the case that width and height are exchanged.
fn rotation_hint(annotated: Size, found: Size) -> &'static str {
    if annotated.width == found.height && annotated.height == found.width {
        ". Its EXIF orientation may rotate it for display; `exif_orientation` decides whether that is applied"
    } else {
        ""
    }
}

fn unusable(missing: usize, unreadable: usize, of: usize, listed: &[String]) -> String {
    let counts = match (missing, unreadable) {
        (missing, 0) => format!("{missing} of {of} images do not exist"),
        (0, unreadable) => format!("{unreadable} of {of} images cannot be used"),
        (missing, unreadable) => {
            format!("{missing} of {of} images do not exist, and {unreadable} cannot be used")
        }
    };
    let more = match (missing + unreadable).checked_sub(listed.len()) {
        None | Some(0) => String::new(),
        Some(more) => format!("\n  and {more} more"),
    };
    let listed: String = listed.iter().map(|line| format!("\n  {line}")).collect();
    format!("{counts}; fetch them, correct the path of the data set, or remove them from it:{listed}{more}")
}

fn known(available: &[String]) -> String {
    if available.is_empty() { "it has no splits".into() } else { format!("it has {}", available.join(", ")) }
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
