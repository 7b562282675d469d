//! Data sets: pictures with what is true of them, from the files that others made.
//!
//! The annotations are read at once and the pictures one by one, when they are asked for. What of a data set
//! is not used is counted and named ([`LeftOut`]); a file that is broken is an error.

mod boxes;
mod check;
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

use std::path::PathBuf;

use lookout_config::ExifOrientation;
pub use lookout_measure::IgnoredAre;
use lookout_measure::ObjectTarget;
use lookout_model::read_picture;
use lookout_schema::Size;

#[cfg(test)]
use self::check::error_text;
pub use self::{
    check::PicturesChecked,
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
    /// What the network learns.
    pub target: Target,
    /// What it is judged by, where that is not the same: COCO's boxes as they are given, which pycocotools neither cuts
    /// at the border nor leaves out where they have no area.
    pub judged: Option<Vec<ObjectTarget>>,
}

impl Entry {
    /// The objects that a detector is judged by.
    pub fn truth(&self) -> &[ObjectTarget] {
        match (&self.judged, &self.target) {
            (Some(judged), _) => judged,
            (None, Target::Objects(objects)) => objects,
            (None, Target::Class(_)) => &[],
        }
    }
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
    /// Whether pictures are read as they are displayed.
    pub(crate) exif: ExifOrientation,
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
        let picture = read_picture(path, self.exif)?;
        let found = Size { width: picture.width(), height: picture.height() };
        if let Some(said) = size.filter(|said| *said != found) {
            return Err(DataError::size(path, said, found));
        }
        let picture = Picture { size: found, rgb: picture.into_raw() };
        Ok(Sample { name: name.clone(), picture, target: target.clone() })
    }

    /// The data set with the pictures of `keep` only, in its order.
    #[must_use]
    pub fn subset(mut self, keep: impl Fn(usize) -> bool) -> Self {
        let mut index = 0..;
        self.entries.retain(|_| index.next().is_some_and(&keep));
        self
    }
}
