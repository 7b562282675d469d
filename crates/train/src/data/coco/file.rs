//! COCO's JSON as it is written; what is not used of it is passed over.

use std::path::Path;

use serde::{Deserialize, Deserializer, de::Error};

use crate::data::{DataError, files};

/// The annotations of COCO's 118,000 training pictures have half a gigabyte.
const LIMIT: u64 = 4 << 30;

#[derive(Debug, Deserialize)]
pub(super) struct CocoFile {
    pub(super) images: Vec<Image>,
    pub(super) annotations: Vec<Annotation>,
    pub(super) categories: Vec<Category>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Image {
    pub(super) id: u64,
    pub(super) file_name: String,
    pub(super) width: f64,
    pub(super) height: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Annotation {
    pub(super) id: Option<u64>,
    pub(super) image_id: u64,
    pub(super) category_id: u64,
    /// `x, y, width, height`
    #[serde(default)]
    pub(super) bbox: Option<Vec<Option<f64>>>,
    #[serde(default)]
    pub(super) area: Option<f64>,
    #[serde(default, deserialize_with = "flag")]
    pub(super) iscrowd: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Category {
    pub(super) id: u64,
    pub(super) name: String,
}

/// What a detector found, in COCO's format of results.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct CocoDetection {
    pub image_id: u64,
    pub category_id: u64,
    /// `x, y, width, height`
    pub bbox: [f64; 4],
    pub score: f64,
}

/// 0 or 1, as COCO has it, or a boolean, as others write it.
fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Flag {
        Bool(bool),
        Number(u64),
    }
    match Option::<Flag>::deserialize(from)? {
        None | Some(Flag::Bool(false) | Flag::Number(0)) => Ok(false),
        Some(Flag::Bool(true) | Flag::Number(1)) => Ok(true),
        Some(Flag::Number(number)) => Err(D::Error::custom(format!("iscrowd is 0 or 1, not {number}"))),
    }
}

pub(super) fn read(path: &Path) -> Result<CocoFile, DataError> {
    parse(path, &files::read(path, LIMIT)?)
}

pub(super) fn parse(path: &Path, json: &[u8]) -> Result<CocoFile, DataError> {
    const EXPECTED: &str = r#"{"images": [...], "annotations": [...], "categories": [...]}"#;
    json_of(path, json, EXPECTED)
}

impl CocoDetection {
    /// Reads a file of COCO's format of results: an array of detections.
    ///
    /// # Errors
    /// A file that cannot be read, with the line and what was expected.
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
    serde_json::from_slice(json).map_err(|source| DataError::Json { path: path.to_owned(), expected, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detections_are_read_and_what_is_none_says_where() {
        let path = Path::new("found.json");
        let json = br#"[{"image_id": 7, "category_id": 2, "bbox": [1, 2.5, 3, 4], "score": 0.5, "id": 9}]"#;
        let found = CocoDetection { image_id: 7, category_id: 2, bbox: [1.0, 2.5, 3.0, 4.0], score: 0.5 };
        assert_eq!(CocoDetection::parse(path, json).unwrap(), [found]);
        let error = CocoDetection::parse(path, b"[{\"image_id\": 7,\n\"bbox\": [1, 2, 3]}]").unwrap_err();
        assert!(error.to_string().contains("found.json is no COCO file (detections are"), "{error}");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("line 2"), "{source}");
    }
}
