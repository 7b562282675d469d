//! `[data]`: the pictures, and what is true of them.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use lookout_schema::Size;

use super::{RecipeModel, input};
use crate::reader::Section;

/// `[data]`: the pictures, and what is true of them.
#[derive(Debug, Clone, PartialEq)]
pub struct DataSettings {
    /// What the network learns from.
    pub train: SourceSettings,
    /// What it is judged on.
    pub val: SourceSettings,
    /// The input that it is judged at; none takes that it is trained at.
    pub val_input: Option<Size>,
    /// Whether pictures of rare classes come more often.
    pub balanced: bool,
    /// How many threads read pictures; none takes as many as there are cores.
    pub threads: Option<usize>,
    /// What is done about how the EXIF data of an image says that it is to be turned.
    pub exif_orientation: ExifOrientation,
}

/// What is done about how the EXIF data of an image says that it is to be turned for display.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ExifOrientation {
    /// The image is turned: it is processed as viewers and annotation tools show it.
    #[default]
    Apply,
    /// The image stays as its pixels are stored, as torchvision reads it.
    Ignore,
}

impl ExifOrientation {
    /// The names of both.
    pub const NAMES: [(&str, Self); 2] = [("apply", Self::Apply), ("ignore", Self::Ignore)];

    /// Its name in a recipe and on the command line.
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

/// A data set on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSettings {
    /// One of [`DATA_KINDS`].
    pub kind: String,
    /// The folder or file of the data set.
    pub path: PathBuf,
    /// Which part of it, where it has parts.
    pub split: Option<String>,
}

/// The forms of a data set: a folder a class, COCO's and Pascal VOC's.
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
