//! `[data]`: the pictures, and what is true of them.

use std::path::{Path, PathBuf};

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
}

/// A data set on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSettings {
    /// One of [`DATA_KINDS`].
    pub kind: String,
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
        section.need("train", "`train` is needed in [data]: what the network learns from, `KIND:PATH`");
        section.need("val", "`val` is needed in [data]: what the network is judged on, `KIND:PATH`");
        section.finish();
        Some(Self {
            train: SourceSettings { split: train_split, ..train? },
            val: SourceSettings { split: val_split, ..val? },
            val_input,
            balanced,
            threads,
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
            let what =
                format!("`{text}` is no data set; it takes KIND:PATH, KIND one of {}", DATA_KINDS.join(", "));
            section.note(key, what);
            return None;
        };
        match (kind == "folder", model.map(RecipeModel::is_classifier)) {
            (true, Some(false)) => {
                let what =
                    "a folder a class says nothing of boxes, and [model] is a detector; take `coco` or `voc`";
                section.note(key, what);
            }
            (false, Some(true)) => {
                section.note(key, "this is of boxes, and [model] is a classifier; take `folder`");
            }
            _ => {}
        }
        Some(Self { kind: kind.to_owned(), path: base.join(path), split: None })
    }
}
