//! Image files compared with Pillow (`images/make_images.py`): intact, damaged, and with an EXIF
//! orientation.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::PathBuf};

use lookout_config::ExifOrientation::{Apply, Ignore};
use lookout_model::{ModelError, image_header, read_image};
use lookout_schema::Size;
use serde::Deserialize;

const GOLDEN: &str = include_str!("images/pillow.json");

#[derive(Deserialize)]
struct Golden {
    damaged: Vec<Damaged>,
    turned: Vec<Turned>,
}

/// An image file and the damage to its bytes.
#[derive(Debug, Deserialize)]
struct Damaged {
    file: String,
    cut: Option<usize>,
    at: Option<usize>,
    bytes: Option<String>,
    /// Whether Pillow accepts it.
    accepted: bool,
}

#[derive(Deserialize)]
struct Turned {
    file: String,
    orientation: u8,
    size: [u32; 2],
    /// The colors near the four corners in row-major order.
    corners: [[u8; 3]; 4],
}

fn golden() -> Golden {
    serde_json::from_str(GOLDEN).unwrap()
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/images").join(name)
}

impl Damaged {
    fn content(&self) -> Vec<u8> {
        let mut content = fs::read(file(&self.file)).unwrap();
        content.truncate(self.cut.unwrap_or(usize::MAX));
        if let (Some(at), Some(hex)) = (self.at, &self.bytes) {
            let digits: Vec<u8> = hex.chars().map(|digit| digit.to_digit(16).unwrap() as u8).collect();
            let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
            let end = content.len().min(at + bytes.len());
            content.splice(at..end, bytes);
        }
        content
    }

    /// Returns whether bytes inside the file were replaced.
    fn is_garbled(&self) -> bool {
        self.at.is_some_and(|at| (at as u64) < fs::metadata(file(&self.file)).unwrap().len())
    }
}

#[test]
fn damaged_images_are_errors_as_in_pillow() {
    let folder = tempfile::tempdir().unwrap();
    let (mut found, mut of) = (0, 0);
    for case in golden().damaged {
        let path = folder.path().join(&case.file);
        fs::write(&path, case.content()).unwrap();
        let read = read_image(&path, Apply);
        if !case.accepted {
            let error = read.expect_err(&format!("{case:?}")).to_string();
            assert!(error.contains(&case.file), "{error}");
        } else if case.cut.is_none() && !case.is_garbled() {
            // Pillow also accepts a PNG without its last checksum.
            read.unwrap_or_else(|error| panic!("{case:?}: {error}"));
        }
        // Pillow accepts nearly all of these, because libjpeg only emits warnings.
        if case.is_garbled() && case.file.ends_with(".jpg") {
            of += 1;
            found += usize::from(read_image(&path, Apply).is_err());
        }
    }
    assert!(found * 10 >= of * 8, "detected 40 wrong bytes in only {found} of {of} JPEG files");
}

#[test]
fn truncated_files_are_found_by_header_and_end() {
    let folder = tempfile::tempdir().unwrap();
    for case in golden().damaged.iter().filter(|case| case.at.is_none()) {
        let path = folder.path().join(&case.file);
        fs::write(&path, case.content()).unwrap();
        match (image_header(&path, Apply), case.accepted) {
            (Ok(header), true) => assert_eq!(header.size, Size { width: 120, height: 88 }, "{case:?}"),
            (Err(_), false) => {}
            // A PNG without its last checksum.
            (Err(_), true) if case.cut.is_some() => {}
            (result, _) => panic!("{case:?}: {result:?}"),
        }
    }
}

#[test]
fn exif_orientation_is_applied() {
    let golden = golden();
    assert_eq!(golden.turned.len(), 10);
    for Turned { file: name, orientation, size: [width, height], corners } in golden.turned {
        let path = file(&name);
        let shown = read_image(&path, Apply).unwrap();
        assert_eq!((shown.width(), shown.height()), (width, height), "{name}");
        let at = [(4, 4), (width - 5, 4), (4, height - 5), (width - 5, height - 5)];
        for ((x, y), expected) in at.into_iter().zip(corners) {
            let color = shown.get_pixel(x, y).0;
            let near = color.iter().zip(expected).all(|(ours, theirs)| ours.abs_diff(theirs) < 16);
            assert!(near, "{name} at {x}, {y}: {color:?}, not {expected:?}");
        }
        let stored = read_image(&path, Ignore).unwrap();
        assert_eq!((stored.width(), stored.height()), (40, 24), "{name}");
        let header = |exif| image_header(&path, exif).unwrap();
        assert_eq!(header(Apply).size, Size { width, height }, "{name}");
        assert_eq!(header(Ignore).size, Size { width: 40, height: 24 }, "{name}");
        assert_eq!(header(Ignore).exif_orientation, orientation, "{name}");
    }
}

#[test]
fn error_describes_a_file_that_is_not_an_image() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jpg");
    for (content, what) in [
        (&b""[..], "empty file"),
        (b"<!DOCTYPE html><html>Not found</html>", "HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"not an image", "not a JPEG, PNG, BMP or WebP file"),
        (b"GIF89a", "not a JPEG, PNG, BMP or WebP file"),
    ] {
        fs::write(&path, content).unwrap();
        let errors = [read_image(&path, Apply).err(), image_header(&path, Apply).err()];
        for error in errors.map(Option::unwrap) {
            assert!(matches!(error, ModelError::NotAnImage { .. }), "{error:?}");
            let text = error.to_string();
            assert!(text.contains("a.jpg") && text.contains(what), "{text}");
        }
    }
    assert!(read_image(folder.path(), Apply).unwrap_err().to_string().contains("not a file"));
}

/// Files from cameras and tools are not damaged, so the checks must accept them.
#[test]
fn images_of_the_repository_pass_the_checks() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut count = 0;
    for folder in ["docs/pictures", "crates/model/tests/goldens", "../shared/data/bccd/JPEGImages"] {
        let Ok(entries) = fs::read_dir(root.join(folder)) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            let name = path.to_string_lossy().to_ascii_lowercase();
            if name.ends_with(".jpg") || name.ends_with(".png") {
                read_image(&path, Apply).unwrap();
                image_header(&path, Apply).unwrap();
                count += 1;
            }
        }
    }
    assert!(count > 2, "{count} images");
}
