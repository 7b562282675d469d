//! The names of a network's classes.

use std::{fs, io, path::Path, sync::Arc};

use crate::{ModelError, text::decoded};

/// The names of ImageNet-1k's classes in the order of their WordNet ids, as in torchvision.
const IMAGENET_1K: &str = include_str!("labels/imagenet-1k.txt");

/// The names of COCO's classes by category id, as in torchvision: the background first, and `N/A` for ids that COCO
/// skips.
const COCO: &str = include_str!("labels/coco.txt");

/// Number of classes of ImageNet-1k.
pub(crate) const IMAGENET_CLASSES: i64 = 1000;

/// Number of classes in torchvision's COCO weights: the 80 classes, the category numbers that COCO does not use, and
/// the background.
pub(crate) const COCO_CLASSES: i64 = 91;

/// Placeholder names in lists of labels: class ids with these names stand for no object.
const NO_CLASS: [&str; 2] = ["__background__", "N/A"];

/// The name of each class of a network.
#[derive(Debug, Clone)]
pub struct Labels(Vec<Arc<str>>);

impl Labels {
    pub(crate) fn imagenet() -> Self {
        Self::parse(IMAGENET_1K)
    }

    pub(crate) fn coco() -> Self {
        Self::parse(COCO)
    }

    /// Returns the names `class 0`, `class 1` and so on.
    pub(crate) fn numbered(classes: usize) -> Self {
        Self((0..classes).map(|class| format!("class {class}").into()).collect())
    }

    /// Reads a file with one name per line.
    ///
    /// # Errors
    /// The file cannot be read, or does not have exactly `classes` lines.
    pub(crate) fn read(path: &Path, classes: usize) -> Result<Self, ModelError> {
        let labels = Self::read_all(path)?;
        let found = labels.0.len();
        if found != classes {
            return Err(ModelError::LabelCount { path: path.to_owned(), found, classes });
        }
        Ok(labels)
    }

    /// Reads a file with one name per line and any number of lines.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn read_all(path: &Path) -> Result<Self, ModelError> {
        let failed = |source| ModelError::Labels { path: path.to_owned(), source };
        let bytes = fs::read(path).map_err(failed)?;
        let text = decoded(&bytes)
            .ok_or_else(|| failed(io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text")))?;
        Ok(Self::parse(text.trim_end()))
    }

    /// Returns whether the class id `class` is in the list, including placeholders such as the background.
    pub(crate) fn reach(&self, class: usize) -> bool {
        class < self.0.len()
    }

    /// Returns the name of a class; empty if the class is not in the list.
    pub(crate) fn name(&self, class: usize) -> &str {
        self.0.get(class).map_or("", |name| name)
    }

    /// Returns the name of a class; `None` if the class is not in the list or is a placeholder.
    pub(crate) fn shown(&self, class: usize) -> Option<&str> {
        self.0.get(class).map(|name| &**name).filter(|name| !NO_CLASS.contains(name))
    }

    /// Returns all names by class id, including placeholders such as `__background__`.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|name| name.to_string()).collect()
    }

    /// Returns whether a class other than a placeholder has this name.
    pub fn has(&self, name: &str) -> bool {
        (0..self.0.len()).any(|class| self.shown(class) == Some(name))
    }

    fn parse(text: &str) -> Self {
        Self(text.lines().map(str::trim).map(Arc::from).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imagenet_labels_have_1000_classes() {
        let labels = Labels::imagenet();
        assert_eq!(labels.0.len(), 1000);
        assert_eq!((labels.name(0), labels.name(999)), ("tench", "toilet tissue"));
        assert_eq!(labels.name(1000), "");
    }

    #[test]
    fn coco_labels_have_80_classes_with_91_ids() {
        let labels = Labels::coco();
        assert_eq!(labels.0.len(), 91);
        assert_eq!((0..91).filter_map(|class| labels.shown(class)).count(), 80);
        assert_eq!((labels.shown(1), labels.shown(90)), (Some("person"), Some("toothbrush")));
        assert_eq!((labels.shown(0), labels.shown(12), labels.shown(91)), (None, None, None));
    }

    #[test]
    fn wrong_label_count_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "cat\ndog\n").unwrap();
        assert_eq!(Labels::read(file.path(), 2).unwrap().name(1), "dog");
        let error = Labels::read(file.path(), 3).unwrap_err();
        assert!(error.to_string().contains("names 2 classes and the network has 3"), "{error}");
    }

    #[test]
    fn byte_order_mark_and_trailing_lines_are_ignored() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let wide: Vec<u8> = "\u{feff}cat\r\ndog\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for bytes in [&b"\xef\xbb\xbfcat\ndog\n"[..], b"cat\r\ndog\r\n\r\n", &wide] {
            fs::write(file.path(), bytes).unwrap();
            assert_eq!(Labels::read(file.path(), 2).unwrap().names(), ["cat", "dog"]);
        }
    }
}
