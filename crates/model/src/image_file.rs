//! Image files: reads an image completely or returns an error, and applies its EXIF orientation.

use std::{
    fs::File,
    io::{Cursor, Read, Seek, SeekFrom},
    path::Path,
};

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage, metadata::Orientation};
use lookout_config::ExifOrientation;
use lookout_schema::Size;

use crate::{IMPOSTOR_BYTES, ModelError, impostor, jpeg};

/// Maximum size of an image file, in bytes.
const MAX_BYTES: u64 = 1 << 30;

/// How many bytes of a JPEG are read first to find its header. EXIF data and a thumbnail usually fit.
const HEAD: u64 = 64 << 10;

/// The header of an image file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageHeader {
    /// The size of the image that [`read_image`] returns.
    pub size: Size,
    /// The EXIF orientation, 1 (not rotated) to 8.
    pub exif_orientation: u8,
}

/// Reads a JPEG, PNG, BMP or WebP file as RGB. Other channels are dropped.
///
/// The EXIF orientation is applied if `orientation` is [`ExifOrientation::Apply`].
///
/// # Errors
/// The file cannot be read, has another format, or is truncated or damaged. As in Pillow, a damaged file is an error,
/// and not an image that is partly gray.
pub fn read_image(path: &Path, orientation: ExifOrientation) -> Result<RgbImage, ModelError> {
    let bytes = read(path)?;
    let format = format(path, &bytes)?;
    check(path, format, &bytes)?;
    let failed = |source| ModelError::Image { path: path.to_owned(), source };
    let mut decoder = ImageReader::with_format(Cursor::new(&bytes), format).into_decoder().map_err(failed)?;
    let mut limits = Limits::default();
    limits.reserve(decoder.total_bytes()).map_err(failed)?;
    decoder.set_limits(limits).map_err(failed)?;
    let turned = turned(&mut decoder, orientation);
    let mut image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    image.apply_orientation(turned);
    Ok(image.into_rgb8())
}

/// Reads an image file's header, and checks from the end of the file whether the file is complete.
///
/// If the end does not show that the file is complete, the whole file is read.
///
/// # Errors
/// As for [`read_image`], except that damage between the header and the end can remain undetected.
pub fn image_header(path: &Path, orientation: ExifOrientation) -> Result<ImageHeader, ModelError> {
    let unread = |source| ModelError::ImageFile { path: path.to_owned(), source };
    let mut file = open(path)?;
    let mut head = Vec::new();
    file.by_ref().take(HEAD).read_to_end(&mut head).map_err(unread)?;
    let format = format(path, &head)?;
    let found = match format {
        ImageFormat::Jpeg => {
            let damaged = |damage| damaged(path, damage);
            let header = match jpeg::header(&head).map_err(damaged)? {
                Some(header) => Some(header),
                None => jpeg::header(&read(path)?).map_err(damaged)?,
            };
            let header = header.ok_or_else(|| damaged(jpeg::JpegDamage::CutOff))?;
            (Size { width: header.width, height: header.height }, header.orientation)
        }
        _ => {
            let failed = |source| ModelError::Image { path: path.to_owned(), source };
            file.rewind().map_err(unread)?;
            let reader = ImageReader::with_format(std::io::BufReader::new(&file), format);
            let mut decoder = reader.into_decoder().map_err(failed)?;
            let (width, height) = decoder.dimensions();
            (Size { width, height }, turned(&mut decoder, ExifOrientation::Apply))
        }
    };
    if !ends(&mut file, format, &head).map_err(unread)? {
        read_image(path, orientation)?;
    }
    let (stored, exif) = found;
    let across = matches!(
        exif,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    );
    let size = match orientation {
        ExifOrientation::Apply if across => Size { width: stored.height, height: stored.width },
        _ => stored,
    };
    Ok(ImageHeader { size, exif_orientation: exif.to_exif() })
}

fn turned(decoder: &mut impl ImageDecoder, orientation: ExifOrientation) -> Orientation {
    match orientation {
        // Unreadable metadata is ignored.
        ExifOrientation::Apply => decoder.orientation().unwrap_or(Orientation::NoTransforms),
        ExifOrientation::Ignore => Orientation::NoTransforms,
    }
}

fn open(path: &Path) -> Result<File, ModelError> {
    let failed = |source| ModelError::ImageFile { path: path.to_owned(), source };
    let wrong = |what: &str| ModelError::NotAnImage { path: path.to_owned(), what: what.to_owned() };
    let about = std::fs::metadata(path).map_err(failed)?;
    // Reading a pipe or a device might never end.
    if !about.is_file() {
        return Err(wrong("not a file"));
    }
    if about.len() > MAX_BYTES {
        return Err(wrong("a file of more than 1 GiB"));
    }
    File::open(path).map_err(failed)
}

fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    let mut bytes = Vec::new();
    let whole = open(path)?.take(MAX_BYTES).read_to_end(&mut bytes);
    whole.map_err(|source| ModelError::ImageFile { path: path.to_owned(), source })?;
    Ok(bytes)
}

/// Detects the format from the file's first bytes, whatever its name.
fn format(path: &Path, bytes: &[u8]) -> Result<ImageFormat, ModelError> {
    let known = [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Bmp, ImageFormat::WebP];
    image::guess_format(bytes).ok().filter(|format| known.contains(format)).ok_or_else(|| {
        let what = impostor(&bytes[..bytes.len().min(IMPOSTOR_BYTES)]);
        let what = what.unwrap_or("not a JPEG, PNG, BMP or WebP file by its content");
        ModelError::NotAnImage { path: path.to_owned(), what: what.to_owned() }
    })
}

fn damaged(path: &Path, damage: jpeg::JpegDamage) -> ModelError {
    ModelError::DamagedImage { path: path.to_owned(), what: damage.to_string() }
}

/// Finds damage that the decoders tolerate.
fn check(path: &Path, format: ImageFormat, bytes: &[u8]) -> Result<(), ModelError> {
    let cut = |what: &str| Err(ModelError::DamagedImage { path: path.to_owned(), what: what.to_owned() });
    match format {
        ImageFormat::Jpeg => jpeg::check(bytes).map_err(|damage| damaged(path, damage)),
        ImageFormat::WebP if riff_end(bytes).is_none_or(|end| end > bytes.len() as u64) => {
            cut("it is cut off: it is shorter than its header states")
        }
        _ => Ok(()),
    }
}

/// Returns the length of a WebP file according to its header.
fn riff_end(head: &[u8]) -> Option<u64> {
    let size = head.get(4..8)?.first_chunk().map(|size| u32::from_le_bytes(*size))?;
    Some(8 + u64::from(size))
}

/// Returns whether the end of a file shows that the file is complete.
fn ends(file: &mut File, format: ImageFormat, head: &[u8]) -> std::io::Result<bool> {
    let length = file.metadata()?.len();
    let mut tail = [0; 8];
    if length < tail.len() as u64 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-(tail.len() as i64)))?;
    file.read_exact(&mut tail)?;
    Ok(match format {
        ImageFormat::Jpeg => tail.ends_with(b"\xff\xd9"),
        ImageFormat::Png => tail == *b"IEND\xae\x42\x60\x82",
        ImageFormat::WebP => riff_end(head).is_some_and(|end| end <= length),
        // The header holds the file's length, which some tools leave at zero.
        ImageFormat::Bmp => head.get(2..6).and_then(<[u8]>::first_chunk).is_some_and(|size| {
            let size = u64::from(u32::from_le_bytes(*size));
            size > 54 && size <= length
        }),
        _ => false,
    })
}
