//! `[data]`: the training and validation data sets.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use lookout_schema::Size;

use super::{RecipeModel, input};
use crate::reader::Section;

/// `[data]`: the training and validation data sets.
#[derive(Debug, Clone, PartialEq)]
pub struct DataSettings {
    /// The training set.
    pub train: SourceSettings,
    /// The validation set.
    pub val: SourceSettings,
    /// Input size for validation; `None` selects the input size for training.
    pub val_input: Option<Size>,
    /// Whether images of rare classes are drawn more often.
    pub balanced: bool,
    /// Number of threads that read images; `None` for one per core.
    pub threads: Option<usize>,
    /// Whether the EXIF orientation of images is applied.
    pub exif_orientation: ExifOrientation,
}

/// Whether the EXIF orientation of images is applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ExifOrientation {
    /// The image is rotated and flipped as viewers and annotation tools display it.
    #[default]
    Apply,
    /// The pixels are used as they are stored, as in torchvision.
    Ignore,
}

impl ExifOrientation {
    /// The names in recipes, with their values.
    pub const NAMES: [(&str, Self); 2] = [("apply", Self::Apply), ("ignore", Self::Ignore)];

    /// Returns the name in recipes and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Ignore => "ignore",
        }
    }
}

impl FromStr for ExifOrientation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::NAMES.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        found.ok_or_else(|| format!("`{text}` is not one of `apply`, `ignore`"))
    }
}

/// A data set in the file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSettings {
    /// One of [`DATA_KINDS`].
    pub kind: String,
    /// The folder or file of the data set.
    pub path: PathBuf,
    /// Split of the data set, such as `train`; `None` for the whole data set.
    pub split: Option<String>,
}

/// The formats of data sets: one folder per class, COCO, and Pascal VOC.
pub const DATA_KINDS: [&str; 3] = ["folder", "coco", "voc"];

impl DataSettings {
    pub(super) fn read(section: Section<'_, '_>, base: &Path, model: Option<&RecipeModel>) -> Option<Self> {
        let train_split = section.text("train_split");
        let val_split = section.text("val_split");
        let train = SourceSettings::read(&section, "train", base, model);
        let val = SourceSettings::read(&section, "val", base, model);
        let val_input = section.text("val_input").and_then(|text| {
            input(&section, "val_input", &text, model.is_some_and(RecipeModel::is_classifier))
        });
        let balanced = section.boolean("balanced").unwrap_or(false);
        let threads = section.integer("threads", 1..=1024).map(|n| n as usize);
        let exif_orientation =
            section.choice("exif_orientation", &ExifOrientation::NAMES).unwrap_or_default();
        section.need("train", "`train` is required in [data]: the training data, `KIND:PATH`");
        section.need("val", "`val` is required in [data]: the validation data, `KIND:PATH`");
        section.finish();
        Some(Self {
            train: SourceSettings { split: train_split, ..train? },
            val: SourceSettings { split: val_split, ..val? },
            val_input,
            balanced,
            threads,
            exif_orientation,
        })
    }
}

impl SourceSettings {
    fn read(
        section: &Section<'_, '_>,
        key: &'static str,
        base: &Path,
        model: Option<&RecipeModel>,
    ) -> Option<Self> {
        let text = section.text(key)?;
        let parts = text.split_once(':').filter(|(kind, path)| DATA_KINDS.contains(kind) && !path.is_empty());
        let Some((kind, path)) = parts else {
            let what = format!(
                "`{text}` is not a valid data set; use KIND:PATH, KIND one of {}",
                DATA_KINDS.join(", ")
            );
            section.note(key, what);
            return None;
        };
        match (kind == "folder", model.map(RecipeModel::is_classifier)) {
            (true, Some(false)) => {
                section.note(key, "`folder` has no boxes, and [model] is a detector; use `coco` or `voc`");
            }
            (false, Some(true)) => {
                section.note(key, "this data set has boxes, and [model] is a classifier; use `folder`");
            }
            _ => {}
        }
        Some(Self { kind: kind.to_owned(), path: base.join(path), split: None })
    }
}
