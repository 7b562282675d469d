//! Data sets: images with their ground truth, read from files in common formats.
//!
//! The annotations are read at once, the images one by one on request. Parts of a data set that are not used are
//! counted and listed ([`Skipped`]); a broken file is an error.

mod boxes;
mod check;
mod class_mapping;
mod classes;
mod coco;
mod error;
mod files;
mod folder;
mod skipped;
mod source;
mod statistics;
mod voc;

use std::path::PathBuf;

use lookout_config::ExifOrientation;
pub use lookout_measure::IgnoredAre;
use lookout_measure::ObjectTarget;
use lookout_model::read_image;
use lookout_schema::Size;

#[cfg(test)]
use self::check::error_text;
pub use self::{
    check::ImageCheck,
    classes::Classes,
    coco::CocoDetection,
    error::DataError,
    skipped::{SkipReason, Skipped, SkippedItem},
    source::{DataKind, DataSource},
    statistics::Statistics,
};
use crate::sample::{Sample, SampleImage, Target};

/// An image of a data set, whose pixels are not read yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Name of the image in its data set.
    pub name: String,
    pub path: PathBuf,
    /// Number of the image in the data set: COCO's image id, otherwise counted from 1 in the order of the data set.
    pub number: u64,
    /// Size from the annotation; `None` if there is none, as for data sets of image classes.
    pub size: Option<Size>,
    /// The target for training.
    pub target: Target,
    /// The ground truth for evaluation, where it differs: COCO's boxes as they are in the file, since pycocotools
    /// neither clips them at the border nor skips boxes without an area.
    pub evaluation_objects: Option<Vec<ObjectTarget>>,
}

impl Entry {
    /// Returns the objects with which a detector is evaluated.
    pub fn truth(&self) -> &[ObjectTarget] {
        match (&self.evaluation_objects, &self.target) {
            (Some(evaluation_objects), _) => evaluation_objects,
            (None, Target::Objects(objects)) => objects,
            (None, Target::Class(_)) => &[],
        }
    }
}

/// A data set: images with their ground truth.
#[derive(Debug, Clone)]
pub struct DataSet {
    pub(crate) classes: Classes,
    pub(crate) entries: Vec<Entry>,
    pub(crate) skipped: Skipped,
    pub(crate) ignored: IgnoredAre,
    /// Whether the targets are classes of whole images.
    pub(crate) of_images: bool,
    /// Whether images are read with their EXIF orientation applied.
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

    /// Returns the images sorted by name, or by COCO's image id.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    pub fn ignored_are(&self) -> IgnoredAre {
        self.ignored
    }

    /// Returns whether the targets are classes of whole images, rather than objects.
    pub fn is_classification(&self) -> bool {
        self.of_images
    }

    /// Reads the image at `index`.
    ///
    /// # Errors
    /// Returns an error if the image cannot be read, or its size is not that of its annotation.
    ///
    /// # Panics
    /// Panics if `index` is not below [`DataSet::len`].
    pub fn read(&self, index: usize) -> Result<Sample, DataError> {
        let Entry { name, path, size, target, .. } = &self.entries[index];
        let image = read_image(path, self.exif)?;
        let found = Size { width: image.width(), height: image.height() };
        if let Some(annotated) = size.filter(|annotated| *annotated != found) {
            return Err(DataError::size(path, annotated, found));
        }
        let image = SampleImage { size: found, rgb: image.into_raw() };
        Ok(Sample { name: name.clone(), image, target: target.clone() })
    }

    /// Returns the data set with only the images for which `keep` is true, in the same order.
    #[must_use]
    pub fn subset(mut self, keep: impl Fn(usize) -> bool) -> Self {
        let mut index = 0..;
        self.entries.retain(|_| index.next().is_some_and(&keep));
        self
    }
}
