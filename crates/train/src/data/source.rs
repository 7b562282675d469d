//! The location of a data set, as `KIND:PATH`.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use lookout_config::ExifOrientation;

use super::{DataError, DataSet, coco, folder, voc};

/// The format of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataKind {
    /// One folder per class.
    Folder,
    Coco,
    Voc,
}

/// The format and the path of a data set, `KIND:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataSource {
    pub kind: DataKind,
    pub path: PathBuf,
}

impl FromStr for DataSource {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let invalid = || DataError::Kind { text: text.to_owned() };
        let (kind, path) = text.split_once(':').filter(|(_, path)| !path.is_empty()).ok_or_else(invalid)?;
        let kind = match kind {
            "folder" => DataKind::Folder,
            "coco" => DataKind::Coco,
            "voc" => DataKind::Voc,
            _ => return Err(invalid()),
        };
        Ok(Self { kind, path: path.into() })
    }
}

impl DataSource {
    /// Reads the annotations of a split. Without a split, reads all of them if the data set is not divided into
    /// several. `exif` says whether the EXIF orientation of images is applied, which must match the annotations.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read or is invalid. Unusable annotations are skipped and listed in
    /// [`DataSet::skipped`].
    pub fn open(&self, split: Option<&str>, exif: ExifOrientation) -> Result<DataSet, DataError> {
        let open: fn(&Path, Option<&str>, ExifOrientation) -> Result<DataSet, DataError> = match self.kind {
            DataKind::Folder => folder::open,
            DataKind::Coco => coco::open,
            DataKind::Voc => voc::open,
        };
        open(&self.path, split, exif)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_source_is_parsed_from_kind_and_path() {
        let source: DataSource = "voc:../data:1".parse().unwrap();
        assert_eq!(source, DataSource { kind: DataKind::Voc, path: "../data:1".into() });
        for text in ["", "voc", "voc:", "yolo:x", "../data"] {
            let error = text.parse::<DataSource>().unwrap_err().to_string();
            assert!(error.contains("use KIND:PATH"), "{error}");
        }
    }
}
