//! COCO's JSON format. Unused fields are ignored.

use std::path::Path;

use lookout_model::{IMPOSTOR_BYTES, impostor};
use serde::Deserialize;

use super::loose::Loose;
use crate::data::{DataError, files};

/// The annotations of COCO's 118,000 training images take half a gigabyte.
const LIMIT: u64 = 4 << 30;

/// The used fields. Their values may have any JSON type, so that an error can name the image or annotation that is
/// wrong.
#[derive(Debug, Deserialize)]
pub(super) struct CocoFile {
    pub(super) images: Vec<Image>,
    pub(super) annotations: Vec<Annotation>,
    pub(super) categories: Vec<Category>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Image {
    pub(super) id: Loose,
    pub(super) file_name: String,
    #[serde(default)]
    pub(super) width: Loose,
    #[serde(default)]
    pub(super) height: Loose,
}

#[derive(Debug, Deserialize)]
pub(super) struct Annotation {
    #[serde(default)]
    pub(super) id: Loose,
    pub(super) image_id: Loose,
    pub(super) category_id: Loose,
    /// `x, y, width, height` in pixels.
    #[serde(default)]
    pub(super) bbox: Loose,
    #[serde(default)]
    pub(super) area: Loose,
    #[serde(default)]
    pub(super) iscrowd: Loose,
}

#[derive(Debug, Deserialize)]
pub(super) struct Category {
    pub(super) id: Loose,
    pub(super) name: String,
}

/// A detection in COCO's format of results.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct CocoDetection {
    pub image_id: u64,
    pub category_id: u64,
    /// `x, y, width, height` in pixels.
    pub bbox: [f64; 4],
    pub score: f64,
}

pub(super) fn read(path: &Path) -> Result<CocoFile, DataError> {
    parse(path, &files::read(path, LIMIT)?)
}

pub(super) fn parse(path: &Path, json: &[u8]) -> Result<CocoFile, DataError> {
    const EXPECTED: &str = r#"{"images": [...], "annotations": [...], "categories": [...]}"#;
    let text = without_mark(json);
    if text.trim_ascii_start().starts_with(b"[") {
        let what = "it is a list, like COCO's result format, which has no images and categories; an annotation file is \
                    an object with the keys `images`, `annotations` and `categories`";
        return Err(DataError::layout(path, what));
    }
    json_of(path, text, EXPECTED)
}

impl CocoDetection {
    /// Reads a file in COCO's format of results: an array of detections.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, with the line and the expected format.
    pub fn read_all(path: &Path) -> Result<Vec<Self>, DataError> {
        Self::parse(path, &files::read(path, LIMIT)?)
    }

    fn parse(path: &Path, json: &[u8]) -> Result<Vec<Self>, DataError> {
        const EXPECTED: &str = r#"detections are [{"image_id": 1, "category_id": 1, "bbox": [x, y, width, height], "score": 0.9}, ...]"#;
        json_of(path, json, EXPECTED)
    }
}

fn json_of<'a, T: Deserialize<'a>>(
    path: &Path,
    json: &'a [u8],
    expected: &'static str,
) -> Result<T, DataError> {
    let json = without_mark(json);
    if let Some(what) = impostor(&json[..json.len().min(IMPOSTOR_BYTES)]) {
        return Err(DataError::layout(path, format!("it is {what}")));
    }
    serde_json::from_slice(json).map_err(|source| DataError::Json { path: path.to_owned(), expected, source })
}

/// Removes a byte-order mark.
fn without_mark(json: &[u8]) -> &[u8] {
    json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detections_are_parsed_and_errors_have_a_line() {
        let path = Path::new("found.json");
        let json = br#"[{"image_id": 7, "category_id": 2, "bbox": [1, 2.5, 3, 4], "score": 0.5, "id": 9}]"#;
        let found = CocoDetection { image_id: 7, category_id: 2, bbox: [1.0, 2.5, 3.0, 4.0], score: 0.5 };
        assert_eq!(CocoDetection::parse(path, json).unwrap(), [found]);
        let error = CocoDetection::parse(path, b"[{\"image_id\": 7,\n\"bbox\": [1, 2, 3]}]").unwrap_err();
        assert!(error.to_string().contains("found.json is not a COCO file (detections are"), "{error}");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("line 2"), "{source}");
    }
}
