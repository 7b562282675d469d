//! Skipped parts of a data set (in the code: `Skipped`), with reasons: no annotation is skipped silently.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use serde::Serialize;

/// Why something is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// The box is a point or a line, or its corners are in the wrong order.
    NoArea,
    /// No part of the box lies in the image.
    Outside,
    /// A corner is not a number, or not finite.
    NotANumber,
    /// The annotation has no box of four numbers.
    NoBox,
    /// The file does not list its class.
    UnknownClass,
    /// Its class was not requested.
    NotSelected,
    /// The file does not list its image.
    UnknownImage,
    /// A file in a folder of images without the extension of an image.
    NotAnImage,
    /// A class folder without images.
    EmptyClass,
    /// A split lists an image twice.
    Duplicate,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoArea => "its box has no area",
            Self::Outside => "its box is outside of the image",
            Self::NotANumber => "a corner of its box is not a number",
            Self::NoBox => "it has no box",
            Self::UnknownClass => "the file does not list its class",
            Self::NotSelected => "its class is not among the selected classes",
            Self::UnknownImage => "the file does not list its image",
            Self::NotAnImage => "its name is not that of an image file",
            Self::EmptyClass => "the class has no images",
            Self::Duplicate => "the split lists it again",
        })
    }
}

/// A skipped item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SkippedItem {
    pub file: PathBuf,
    /// The item in the file: an object by its number and class, an annotation by its id.
    pub what: String,
    pub reason: SkipReason,
}

/// All skipped items of a data set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Skipped {
    items: Vec<SkippedItem>,
    clipped: usize,
}

/// Maximum number of items that are listed in a text.
const NAMED: usize = 10;

impl Skipped {
    pub(super) fn add(&mut self, file: impl Into<PathBuf>, what: impl Into<String>, reason: SkipReason) {
        self.items.push(SkippedItem { file: file.into(), what: what.into(), reason });
    }

    pub(super) fn add_clipped(&mut self) {
        self.clipped += 1;
    }

    pub fn items(&self) -> &[SkippedItem] {
        &self.items
    }

    pub fn counts(&self) -> BTreeMap<SkipReason, usize> {
        let mut counts = BTreeMap::new();
        for item in &self.items {
            *counts.entry(item.reason).or_default() += 1;
        }
        counts
    }

    /// Returns the number of used boxes that extended beyond the image's border by more than a pixel and were clipped.
    pub fn clipped_at_border(&self) -> usize {
        self.clipped
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

/// Writes `skipped: 2 (its box has no area: 2)`, then the first ten items, one per line.
impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.items.is_empty() {
            write!(f, "skipped: nothing")?;
        } else {
            let counts: Vec<String> =
                self.counts().iter().map(|(reason, count)| format!("{reason}: {count}")).collect();
            write!(f, "skipped: {} ({})", self.items.len(), counts.join("; "))?;
        }
        for item in self.items.iter().take(NAMED) {
            write!(f, "\n  {}, {}: {}", item.file.display(), item.what, item.reason)?;
        }
        if let Some(more @ 1..) = self.items.len().checked_sub(NAMED) {
            write!(f, "\n  and {more} more")?;
        }
        if self.clipped > 0 {
            write!(f, "\nclipped at the image border: {}", self.clipped)?;
        }
        Ok(())
    }
}
