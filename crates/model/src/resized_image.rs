//! Preprocessing of image files: torchvision's evaluation transforms.

use std::path::Path;

use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer, images::Image};
use image::RgbImage;
use lookout_config::ExifOrientation;
use lookout_schema::Size;
use lookout_stage::{Pixels, ResizeMode, ResizeTransform};

use tch::{Kind, Tensor};

use crate::{ModelError, libtorch_error::caught, read_image};

/// An image that was brought to the size of a network's input.
#[derive(Debug, Clone)]
pub struct ResizedImage {
    pub pixels: Pixels,
    /// The size of the image before it was resized.
    pub source: Size,
    pub placement: ResizeTransform,
}

impl ResizedImage {
    /// Reads a JPEG, PNG, BMP or WebP file, applies its EXIF orientation, and brings it to `input` with the resize mode
    /// `fit`.
    ///
    /// # Errors
    /// As for [`read_image`].
    pub fn read(path: &Path, fit: ResizeMode, input: Size) -> Result<Self, ModelError> {
        Ok(Self::new(&read_image(path, ExifOrientation::Apply)?, fit, input))
    }

    /// Resizes an image as torchvision's `GeneralizedRCNNTransform` does for its detectors.
    ///
    /// The published accuracies of torchvision's detectors were measured with this transform. It resizes the short side
    /// to 800 pixels, or to less if the long side would exceed 1333. The padding of a batch to multiples of 32 pixels
    /// is left to the detector, as in torchvision.
    ///
    /// # Errors
    /// libtorch cannot resize the image.
    pub fn for_torchvisions_detectors(rgb: &RgbImage) -> Result<Self, ModelError> {
        let source = Size { width: rgb.width(), height: rgb.height() };
        let size = torchvisions_size(source);
        let scaled = caught(|| interpolated(rgb, size));
        let scaled = scaled.map_err(|reason| ModelError::Network { reason })?;
        #[expect(clippy::expect_used, reason = "the image was scaled to exactly this size")]
        let pixels = Pixels::new(size, scaled).expect("the scaled image has the requested size");
        Ok(Self { pixels, source, placement: ResizeMode::Stretch.place(source, size) })
    }

    /// Brings an image to `input` with the resize mode `fit`.
    pub fn new(rgb: &RgbImage, fit: ResizeMode, input: Size) -> Self {
        let source = Size { width: rgb.width(), height: rgb.height() };
        let placement = fit.place(source, input);
        let scaled = match fit {
            ResizeMode::CenterCrop { short_side } => ResizeMode::short_side(source, short_side),
            ResizeMode::Stretch => input,
            ResizeMode::Letterbox => {
                let inner = ResizeMode::letterbox(source, input);
                Size { width: inner.width, height: inner.height }
            }
        };
        let scaled = resize(rgb, scaled);
        let mut canvas = RgbImage::new(input.width, input.height);
        // The casts are exact: `place` returns whole pixels.
        let (x, y) = (placement.offset_x as i64, placement.offset_y as i64);
        image::imageops::replace(&mut canvas, &scaled, x, y);
        let pixels = Pixels::new(input, canvas.into_raw());
        #[expect(clippy::expect_used, reason = "the canvas has exactly the input's size")]
        let pixels = pixels.expect("the canvas has the input's size");
        Self { pixels, source, placement }
    }
}

/// Returns the size after torchvision's resize: the short side is 800, or less if the long side would exceed 1333.
/// Sides are rounded down.
fn torchvisions_size(Size { width, height }: Size) -> Size {
    let (short, long) = (f64::from(width.min(height)), f64::from(width.max(height)));
    let scale = (800.0 / short).min(1333.0 / long);
    let side = |side: u32| ((f64::from(side) * scale) as u32).max(1);
    Size { width: side(width), height: side(height) }
}

/// Resizes with libtorch's bilinear interpolation, which torchvision uses on tensors.
///
/// Each output pixel is interpolated between the four nearest input pixels, without antialiasing.
fn interpolated(image: &RgbImage, to: Size) -> Vec<u8> {
    let (width, height) = (i64::from(image.width()), i64::from(image.height()));
    let x = Tensor::from_slice(image.as_raw()).view([1, height, width, 3]).permute([0, 3, 1, 2]);
    let size = [i64::from(to.height), i64::from(to.width)];
    // The scale of each axis is the ratio of the sizes, because torchvision recomputes it.
    let x = x.to_kind(Kind::Float).upsample_bilinear2d(size, false, None, None); // [1, 3, H, W]
    let x = x.round().clamp(0.0, 255.0).to_kind(Kind::Uint8).permute([0, 2, 3, 1]).contiguous();
    let mut bytes = vec![0; x.numel()];
    x.copy_data(&mut bytes, x.numel());
    bytes
}

/// Resizes with Pillow's bilinear filter, which torchvision uses on images: a triangle filter that is scaled for
/// antialiasing.
fn resize(image: &RgbImage, to: Size) -> RgbImage {
    let from = Image::from_vec_u8(
        image.width(),
        image.height(),
        image.as_raw().clone(),
        fast_image_resize::PixelType::U8x3,
    );
    let mut scaled = Image::new(to.width, to.height, fast_image_resize::PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    let done = from.ok().and_then(|from| Resizer::new().resize(&from, &mut scaled, &options).ok());
    debug_assert!(done.is_some(), "both images have three bytes per pixel");
    RgbImage::from_raw(to.width, to.height, scaled.into_vec()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resized_sizes_match_torchvision() {
        // From `_resize_image_and_masks` of torchvision 0.26 with the sizes 800 and 1333.
        for (source, size) in [
            ((640, 480), (1066, 800)),
            ((480, 640), (800, 1066)),
            ((1920, 1080), (1333, 749)),
            ((500, 333), (1201, 800)),
            ((768, 576), (1066, 800)),
            ((100, 2000), (66, 1333)),
            ((1280, 720), (1333, 749)),
            ((427, 640), (800, 1199)),
        ] {
            let [source, size] = [source, size].map(|(width, height)| Size { width, height });
            assert_eq!(torchvisions_size(source), size, "{source:?}");
        }
    }
}
