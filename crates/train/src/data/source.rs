//! `KIND:PATH` to a data set.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use lookout_config::ExifOrientation;

use super::{DataError, DataSet, coco, folder, voc};

/// The form of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataKind {
    /// A folder a class.
    Folder,
    Coco,
    Voc,
}

/// Where a data set is and of what form, `KIND:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataSource {
    pub kind: DataKind,
    pub path: PathBuf,
}

impl FromStr for DataSource {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let wrong = || DataError::Kind { text: text.to_owned() };
        let (kind, path) = text.split_once(':').filter(|(_, path)| !path.is_empty()).ok_or_else(wrong)?;
        let kind = match kind {
            "folder" => DataKind::Folder,
            "coco" => DataKind::Coco,
            "voc" => DataKind::Voc,
            _ => return Err(wrong()),
        };
        Ok(Self { kind, path: path.into() })
    }
}

impl DataSource {
    /// Reads the annotations; without a split all of them, where the data set has them in one. `exif` says whether its
    /// pictures are read as their EXIF data has them displayed, which the annotations have to be about.
    ///
    /// # Errors
    /// A file that cannot be read or says what cannot be; what is only of no use is left out, and told by
    /// [`DataSet::left_out`].
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
    fn a_source_has_a_kind_and_a_path() {
        let source: DataSource = "voc:../data:1".parse().unwrap();
        assert_eq!(source, DataSource { kind: DataKind::Voc, path: "../data:1".into() });
        for text in ["", "voc", "voc:", "yolo:x", "../data"] {
            let error = text.parse::<DataSource>().unwrap_err().to_string();
            assert!(error.contains("takes KIND:PATH"), "{error}");
        }
    }
}
