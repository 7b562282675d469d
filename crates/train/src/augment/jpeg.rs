//! JPEG artifacts, which the images of cameras have.

use image::{ImageFormat, RgbImage, codecs::jpeg::JpegEncoder, load_from_memory_with_format};
use rand::RngExt;

use super::random::Random;
use crate::sample::SampleImage;

/// Compresses the image as JPEG with a random quality between `worst` and `best`, 1 to 100, and decodes it again.
pub fn compress(image: &mut SampleImage, [worst, best]: [u8; 2], random: &mut Random) {
    let quality = random.random_range(worst.min(best)..=best.max(worst)).clamp(1, 100);
    let size = image.size;
    let Some(rgb) = RgbImage::from_raw(size.width, size.height, std::mem::take(&mut image.rgb)) else {
        return;
    };
    let mut file = Vec::new();
    let written = rgb.write_with_encoder(JpegEncoder::new_with_quality(&mut file, quality));
    let read = written.and_then(|()| load_from_memory_with_format(&file, ImageFormat::Jpeg));
    // JPEG does not support sides above 65,535 pixels; such an image is not changed.
    image.rgb = read.map_or(rgb, image::DynamicImage::into_rgb8).into_raw();
}
