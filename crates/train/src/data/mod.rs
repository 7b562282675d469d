//! Data sets: pictures with what is true of them, from the files that others made.
//!
//! The annotations are read at once and the pictures one by one, when they are asked for. What of a data set
//! is not used is counted and named ([`LeftOut`]); a file that is broken is an error.

mod boxes;
mod classes;
mod coco;
mod error;
mod files;
mod folder;
mod left_out;
mod mapped;
mod overview;
mod source;
mod voc;

use std::path::{Path, PathBuf};

pub use lookout_measure::IgnoredAre;
use lookout_model::read_picture;
use lookout_schema::Size;

pub use self::{
    classes::Classes,
    coco::CocoDetection,
    error::DataError,
    left_out::{LeftOut, LeftOutItem, Reason},
    overview::Overview,
    source::{DataKind, DataSource},
};
use crate::sample::{Picture, Sample, Target};

/// A picture of a data set, not yet read.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Names it in its data set.
    pub name: String,
    pub path: PathBuf,
    /// The data set's own number: COCO's image id; else from 1 in the data set's order.
    pub number: u64,
    /// As the annotation says; a whole picture's class says nothing of it.
    pub size: Option<Size>,
    pub target: Target,
}

/// Pictures with their truth.
#[derive(Debug, Clone)]
pub struct DataSet {
    pub(crate) classes: Classes,
    pub(crate) entries: Vec<Entry>,
    pub(crate) left_out: LeftOut,
    pub(crate) ignored: IgnoredAre,
    /// Whether each picture is of a class as a whole.
    pub(crate) of_pictures: bool,
}

impl DataSet {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn classes(&self) -> &Classes {
        &self.classes
    }

    /// In the data set's order: by name, or by COCO's image id.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn left_out(&self) -> &LeftOut {
        &self.left_out
    }

    pub fn ignored_are(&self) -> IgnoredAre {
        self.ignored
    }

    /// Whether each picture is of a class as a whole, rather than of objects.
    pub fn is_of_pictures(&self) -> bool {
        self.of_pictures
    }

    /// Reads the picture of number `index`.
    ///
    /// # Errors
    /// A picture that cannot be read, or has another size than its annotation says.
    ///
    /// # Panics
    /// `index` is not below [`DataSet::len`].
    pub fn read(&self, index: usize) -> Result<Sample, DataError> {
        let Entry { name, path, size, target, .. } = &self.entries[index];
        let picture = read_picture(path)?;
        let found = Size { width: picture.width(), height: picture.height() };
        if let Some(said) = size.filter(|said| *said != found) {
            return Err(DataError::Size { path: path.clone(), said, found });
        }
        let picture = Picture { size: found, rgb: picture.into_raw() };
        Ok(Sample { name: name.clone(), picture, target: target.clone() })
    }

    /// Whether every picture is there, which is better known before than in the middle of a night's training.
    ///
    /// # Errors
    /// How many are not, and one of them.
    pub fn check_pictures(&self) -> Result<(), DataError> {
        let absent: Vec<&Path> =
            self.entries.iter().map(|entry| entry.path.as_path()).filter(|path| !path.is_file()).collect();
        match absent.first() {
            None => Ok(()),
            Some(first) => Err(DataError::NoPictures {
                count: absent.len(),
                of: self.entries.len(),
                first: (*first).to_owned(),
            }),
        }
    }

    /// The data set with the pictures of `keep` only, in its order.
    #[must_use]
    pub fn subset(mut self, keep: impl Fn(usize) -> bool) -> Self {
        let mut index = 0..;
        self.entries.retain(|_| index.next().is_some_and(&keep));
        self
    }
}
