//! Checks of a whole data set, so that errors are found before a training run and not in the middle of it.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use lookout_model::image_header;

use super::{DataError, DataSet, Entry, IgnoredAre};
use crate::sample::Target;

/// Maximum number of unusable images that are listed in an error.
const LISTED: usize = 10;

/// The result of reading the headers of all images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageCheck {
    /// Number of images that their EXIF orientation rotates or mirrors.
    pub rotated: usize,
}

/// The result of reading the header of one image.
enum Checked {
    Valid { rotated: bool },
    Missing,
    Invalid(String),
}

impl DataSet {
    /// Reads the headers of all images and checks that each file exists, is an image, appears complete, and has the
    /// size that its annotation states.
    ///
    /// # Errors
    /// Returns the number of images that fail the checks, and the reasons for the first of them.
    pub fn check_images(&self) -> Result<ImageCheck, DataError> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut rotated = 0;
            let mut failures = BTreeMap::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(entry) = self.entries.get(index) else { return (rotated, failures) };
                match self.checked(entry) {
                    Checked::Valid { rotated: is_rotated } => rotated += usize::from(is_rotated),
                    failure => drop(failures.insert(index, failure)),
                }
            }
        };
        let threads = thread::available_parallelism().map_or(1, usize::from).min(self.entries.len().max(1));
        let parts = thread::scope(|scope| {
            let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            handles.into_iter().map(thread::ScopedJoinHandle::join).collect::<Result<Vec<_>, _>>()
        });
        // A panic in a thread is passed on to the caller.
        let parts = parts.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let rotated = parts.iter().map(|(rotated, _)| rotated).sum();
        let failures: BTreeMap<usize, Checked> =
            parts.into_iter().flat_map(|(_, failures)| failures).collect();
        if failures.is_empty() {
            return Ok(ImageCheck { rotated });
        }
        let missing = failures.values().filter(|failure| matches!(failure, Checked::Missing)).count();
        let line = |(index, failure): (&usize, &Checked)| match failure {
            Checked::Invalid(what) => what.clone(),
            _ => format!("{}: does not exist", self.entries[*index].path.display()),
        };
        let listed = failures.iter().take(LISTED).map(line).collect();
        Err(DataError::UnusableImages {
            missing,
            unreadable: failures.len() - missing,
            of: self.entries.len(),
            listed,
        })
    }

    fn checked(&self, Entry { path, size, .. }: &Entry) -> Checked {
        let path: &Path = path;
        if !path.is_file() {
            return Checked::Missing;
        }
        match image_header(path, self.exif) {
            Err(error) => Checked::Invalid(error_text(&error)),
            Ok(header) => match size.filter(|annotated| *annotated != header.size) {
                Some(annotated) => {
                    Checked::Invalid(DataError::size(path, annotated, header.size).to_string())
                }
                None => Checked::Valid { rotated: header.exif_orientation != 1 },
            },
        }
    }

    /// Checks that the data set has an object of its classes that is not ignored. Without one, training learns nothing
    /// and evaluation cannot distinguish networks. `what` names the data set in the error, and `purpose` says what the
    /// objects are needed for.
    ///
    /// # Errors
    /// Returns an error if there is no such object, with the numbers of ignored and skipped objects.
    pub fn check_objects(&self, what: &str, purpose: &'static str) -> Result<(), DataError> {
        let mut ignored = 0;
        for entry in &self.entries {
            match &entry.target {
                Target::Class(_) => return Ok(()),
                Target::Objects(objects) => {
                    if objects.iter().any(|object| !object.ignore) {
                        return Ok(());
                    }
                    ignored += objects.len();
                }
            }
        }
        let kind = match self.ignored {
            IgnoredAre::Crowds => "`iscrowd`",
            IgnoredAre::Difficult => "`difficult`",
        };
        let (images, skipped) = (self.entries.len(), self.skipped.items().len());
        Err(DataError::NoObjects { what: what.to_owned(), purpose, images, ignored, kind, skipped })
    }
}

/// Returns an error and its sources as one line.
pub(super) fn error_text(error: &dyn std::error::Error) -> String {
    let reasons = std::iter::successors(error.source(), |error| error.source());
    reasons.fold(error.to_string(), |text, reason| format!("{text}: {reason}"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use lookout_config::ExifOrientation;
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;
    use crate::data::DataSource;

    /// Creates a data set of images of 40x24 pixels with these file contents and annotations.
    fn set(
        files: &[(&str, &[u8])],
        annotations: &serde_json::Value,
        exif: ExifOrientation,
    ) -> (TempDir, DataSet) {
        let root = tempfile::tempdir().unwrap();
        let images: Vec<serde_json::Value> = (1..)
            .zip(files)
            .map(|(id, (name, _)): (u64, _)| json!({"id": id, "file_name": name, "width": 40, "height": 24}))
            .collect();
        for (name, content) in files {
            fs::write(root.path().join(name), content).unwrap();
        }
        let file =
            json!({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]});
        fs::write(root.path().join("set.json"), file.to_string()).unwrap();
        let source: DataSource = format!("coco:{}", root.path().display()).parse().unwrap();
        let set = source.open(None, exif).unwrap();
        (root, set)
    }

    fn encoded(width: u32, height: u32, format: image::ImageFormat) -> Vec<u8> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image::RgbImage::new(width, height).write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn unusable_images_are_found_before_training() {
        let jpeg = encoded(40, 24, image::ImageFormat::Jpeg);
        let resized = encoded(20, 12, image::ImageFormat::Png);
        let files: [(&str, &[u8]); 6] = [
            ("empty.jpg", b""),
            ("page.jpg", b"<!DOCTYPE html><html></html>"),
            ("resized.png", &resized),
            ("cut.jpg", &jpeg[..jpeg.len() - 40]),
            ("good.jpg", &jpeg),
            ("gone.jpg", b"x"),
        ];
        let (root, set) = set(&files, &json!([]), ExifOrientation::Apply);
        fs::remove_file(root.path().join("gone.jpg")).unwrap();
        let error = set.check_images().unwrap_err().to_string();
        for part in [
            "1 of 6 images do not exist, and 4 cannot be used",
            "empty.jpg cannot be read: it is an empty file",
            "page.jpg cannot be read: it is an HTML page",
            "resized.png is 20x12 and its annotation is for 40x24",
            "cut.jpg is damaged: it is cut off",
            "gone.jpg: does not exist",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(!error.contains("good.jpg"), "{error}");
    }

    #[test]
    fn rotated_images_are_counted_and_measured_as_displayed() {
        let rotated =
            fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../model/tests/images/turned-6.jpg")).unwrap();
        let files: [(&str, &[u8]); 1] = [("turned.jpg", &rotated)];
        // 40x24 pixels as stored, which is the size in the annotation.
        let (_root, as_stored) = set(&files, &json!([]), ExifOrientation::Ignore);
        assert_eq!(as_stored.check_images().unwrap(), ImageCheck { rotated: 1 });
        as_stored.read(0).unwrap();
        let (_root, as_displayed) = set(&files, &json!([]), ExifOrientation::Apply);
        for error in [as_displayed.check_images().unwrap_err(), as_displayed.read(0).unwrap_err()] {
            let error = error.to_string();
            assert!(error.contains("is 24x40 and its annotation is for 40x24"), "{error}");
            assert!(error.contains("`exif_orientation`"), "{error}");
        }
    }

    #[test]
    fn data_set_with_only_ignored_objects_is_an_error() {
        let jpeg = encoded(40, 24, image::ImageFormat::Jpeg);
        let files: [(&str, &[u8]); 1] = [("a.jpg", &jpeg)];
        let object = |crowd: u8| json!([{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 9, 9], "iscrowd": crowd}]);
        for (annotations, ignored) in [(json!([]), 0), (object(1), 1)] {
            let (_root, set) = set(&files, &annotations, ExifOrientation::Apply);
            let error = set.check_objects("[data] `val`", "for evaluation").unwrap_err().to_string();
            assert!(error.starts_with("[data] `val` has no object for evaluation"), "{error}");
            assert!(error.contains(&format!("{ignored} objects that are ignored (`iscrowd`)")), "{error}");
        }
        set(&files, &object(0), ExifOrientation::Apply).1.check_objects("", "").unwrap();
    }
}
