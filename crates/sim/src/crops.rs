//! Small images of single objects in one folder per class, to train classifiers.

use std::{fs, path::Path};

use image::{
    ImageFormat, RgbImage,
    imageops::{self, FilterType},
};
use lookout_schema::{BBox, Size};

use crate::{DatasetSettings, Kind, SimError, dataset::shots};

/// The margin on each side, as a fraction of the object's longer side.
const MARGIN: f32 = 0.1;

/// Writes a square PNG of `side` pixels of every object of a data set that is not ignored into `folder`, and returns
/// their number. `person/1000-0007.png` is the eighth object in the scene of seed 1000. `progress` is called with the
/// number of images processed so far.
///
/// # Errors
/// Returns an error if a file cannot be written.
pub fn write_crops(
    folder: &Path,
    settings: &DatasetSettings,
    side: u32,
    mut progress: impl FnMut(u64),
) -> Result<u64, SimError> {
    for kind in Kind::ALL {
        let path = folder.join(kind.label());
        fs::create_dir_all(&path).map_err(|source| SimError::Write { path, source })?;
    }
    let (mut crops, mut of_seed) = (0, (0, 0));
    for (shot, n) in shots(settings).zip(1..) {
        let shot = shot?;
        let size = shot.frame.size;
        let frame = RgbImage::from_raw(size.width, size.height, shot.frame.rgb);
        let frame = frame.ok_or(SimError::Size(size))?;
        if of_seed.0 != shot.seed {
            of_seed = (shot.seed, 0);
        }
        for object in shot.truth.objects.iter().filter(|object| !object.ignore) {
            let Square { x, y, side: there } = Square::around(object.bbox, size);
            let part = imageops::crop_imm(&frame, x, y, there, there).to_image();
            let crop = imageops::resize(&part, side, side, FilterType::Triangle);
            let path = folder.join(&object.label).join(format!("{}-{:04}.png", of_seed.0, of_seed.1));
            crop.save_with_format(&path, ImageFormat::Png)
                .map_err(|error| SimError::Image { path, reason: error.to_string() })?;
            of_seed.1 += 1;
            crops += 1;
        }
        progress(n);
    }
    Ok(crops)
}

/// A square part of an image, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Square {
    x: u32,
    y: u32,
    side: u32,
}

impl Square {
    /// Returns a square with the object in its center, moved as needed to lie within the image. It is not larger than
    /// the image is high or wide, so longer objects are cut off.
    fn around(b: BBox, size: Size) -> Self {
        let longer = (b.x2 - b.x1).max(b.y2 - b.y1);
        let side = ((longer * (1.0 + 2.0 * MARGIN)).round() as u32).clamp(1, size.width.min(size.height));
        let from = |low: f32, high: f32, most: u32| {
            ((low + high - side as f32) / 2.0).round().clamp(0.0, (most - side) as f32) as u32
        };
        Self { x: from(b.x1, b.x2, size.width), y: from(b.y1, b.y2, size.height), side }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crop_has_a_margin_and_lies_within_the_image() {
        let size = Size { width: 320, height: 180 };
        let square = |x1, y1, x2, y2| {
            let Square { x, y, side } = Square::around(BBox { x1, y1, x2, y2 }, size);
            (x, y, side)
        };
        assert_eq!(square(100.0, 50.0, 120.0, 90.0), (86, 46, 48));
        assert_eq!(square(0.0, 150.0, 10.0, 180.0), (0, 144, 36));
        assert_eq!(square(10.0, 0.0, 310.0, 180.0), (70, 0, 180));
    }
}
