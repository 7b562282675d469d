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
        "`{text}` names no data set: it takes KIND:PATH, where KIND is `folder` (a folder a class), `coco` (its \
         JSON, or the folder that has `annotations/`) or `voc` (the folder that has `Annotations/`)"
    )]
    Kind { text: String },
    #[error("{} cannot be read", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} has {bytes} bytes, and {limit} are the most that such a file may have", path.display())]
    TooLarge { path: PathBuf, bytes: u64, limit: u64 },
    #[error("{} is no COCO file ({expected})", path.display())]
    Json { path: PathBuf, expected: &'static str, source: serde_json::Error },
    #[error("{} is no XML", path.display())]
    Xml { path: PathBuf, source: roxmltree::Error },
    #[error("{}, {place}: {what}", path.display())]
    Wrong { path: PathBuf, place: String, what: String },
    #[error("{} has no split `{split}`; {}", path.display(), known(there))]
    NoSplit { path: PathBuf, split: String, there: Vec<String> },
    #[error("{}: {what}", path.display())]
    Layout { path: PathBuf, what: String },
    #[error("{}", unusable(*absent, *bad, *of, listed))]
    Pictures { absent: usize, bad: usize, of: usize, listed: Vec<String> },
    #[error(
        "{what} has no object {purpose}: {pictures} pictures, {ignored} objects that are ignored ({kind}), {left_out} left out; \
         see that it is the right data set and split, and that `classes` are spelled as there"
    )]
    NoObjects {
        what: String,
        purpose: &'static str,
        pictures: usize,
        ignored: usize,
        kind: &'static str,
        left_out: usize,
    },
    #[error("the data set has no class {}; it has {}", quoted(absent), quoted(there))]
    NoClasses { absent: Vec<String>, there: Vec<String> },
    #[error(transparent)]
    Picture(#[from] ModelError),
    #[error(
        "{} is {}x{} and its annotation is about {}x{}: its boxes would lie elsewhere; put the two right, or \
         take the picture out{}", path.display(), found.width, found.height, said.width, said.height, turned(*said, *found)
    )]
    Size { path: PathBuf, said: Size, found: Size },
}

impl DataError {
    pub(super) fn size(path: &Path, said: Size, found: Size) -> Self {
        Self::Size { path: path.to_owned(), said, found }
    }

    pub(super) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Read { path: path.to_owned(), source }
    }

    pub(super) fn wrong(path: &Path, place: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Wrong { path: path.to_owned(), place: place.into(), what: what.into() }
    }

    pub(super) fn layout(path: &Path, what: impl Into<String>) -> Self {
        Self::Layout { path: path.to_owned(), what: what.into() }
    }
}

/// Returns a hint for the case that width and height are exchanged.
fn turned(said: Size, found: Size) -> &'static str {
    if said.width == found.height && said.height == found.width {
        ". Its EXIF data may have it turned for display: `exif_orientation` says whether that is applied"
    } else {
        ""
    }
}

fn unusable(absent: usize, bad: usize, of: usize, listed: &[String]) -> String {
    let counts = match (absent, bad) {
        (absent, 0) => format!("{absent} of {of} pictures are not there"),
        (0, bad) => format!("{bad} of {of} pictures cannot be used"),
        (absent, bad) => format!("{absent} of {of} pictures are not there, and {bad} cannot be used"),
    };
    let more = match (absent + bad).checked_sub(listed.len()) {
        None | Some(0) => String::new(),
        Some(more) => format!("\n  and {more} more"),
    };
    let listed: String = listed.iter().map(|line| format!("\n  {line}")).collect();
    format!("{counts}; fetch them, name the data set where they are, or take them out:{listed}{more}")
}

fn known(there: &[String]) -> String {
    if there.is_empty() { "there is none".into() } else { format!("it has {}", there.join(", ")) }
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
