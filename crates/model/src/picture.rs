//! A picture file to a network's input: torchvision's evaluation transform.

use std::path::Path;

use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer, images::Image};
use image::{DynamicImage, ImageReader, RgbImage};
use lookout_schema::Size;
use lookout_stage::{Fit, Pixels, Placement};

use crate::ModelError;

/// A picture brought to a network's input.
#[derive(Debug, Clone)]
pub struct Picture {
    pub pixels: Pixels,
    /// Of the file's picture, turned as its metadata says.
    pub source: Size,
    pub placement: Placement,
}

impl Picture {
    /// Reads a JPEG, PNG, BMP or WebP file and brings it to `input` by `fit`.
    pub fn read(path: &Path, fit: Fit, input: Size) -> Result<Self, ModelError> {
        let fail = |source| ModelError::Picture { path: path.to_owned(), source };
        let picture = ImageReader::open(path)
            .and_then(ImageReader::with_guessed_format)
            .map_err(|error| fail(image::ImageError::IoError(error)))?
            .decode()
            .map_err(fail)?;
        Ok(Self::new(&picture, fit, input))
    }

    fn new(picture: &DynamicImage, fit: Fit, input: Size) -> Self {
        let rgb = picture.to_rgb8();
        let source = Size { width: rgb.width(), height: rgb.height() };
        let placement = fit.place(source, input);
        let scaled = match fit {
            Fit::CentreCrop { short_side } => Fit::short_side(source, short_side),
            Fit::Stretch => input,
            Fit::Letterbox => {
                let inner = Fit::letterbox(source, input);
                Size { width: inner.width, height: inner.height }
            }
        };
        let scaled = resize(&rgb, scaled);
        let mut canvas = RgbImage::new(input.width, input.height);
        // Whole pixels: `place` gives no other offsets.
        let (x, y) = (placement.offset_x as i64, placement.offset_y as i64);
        image::imageops::replace(&mut canvas, &scaled, x, y);
        let pixels = Pixels::new(input, canvas.into_raw());
        #[expect(clippy::expect_used, reason = "the canvas has just the input's size")]
        let pixels = pixels.expect("a canvas of the input's size");
        Self { pixels, source, placement }
    }
}

/// Pillow's bilinear resize, which torchvision uses on pictures: a triangle as wide as the scale.
fn resize(picture: &RgbImage, to: Size) -> RgbImage {
    let from = Image::from_vec_u8(
        picture.width(),
        picture.height(),
        picture.as_raw().clone(),
        fast_image_resize::PixelType::U8x3,
    );
    let mut scaled = Image::new(to.width, to.height, fast_image_resize::PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    let done = from.ok().and_then(|from| Resizer::new().resize(&from, &mut scaled, &options).ok());
    debug_assert!(done.is_some(), "both pictures have three bytes a pixel");
    RgbImage::from_raw(to.width, to.height, scaled.into_vec()).unwrap_or_default()
}
