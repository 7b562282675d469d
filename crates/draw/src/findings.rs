//! Inference results (in the code: `findings`) drawn on a copy of an image.

use image::{RgbImage, imageops};
use lookout_schema::{Classification, Detection};

use crate::{annotated_image::AnnotatedImage, text::TextRenderer};

/// Minimum long side of the copy in pixels. A smaller image is enlarged by an integer factor, so that text is legible.
const MIN_LONG_SIDE: u32 = 160;

/// Returns a copy of `image` with a box and a label per detection. The classes of a classifier are listed in the
/// upper left corner. An image with a long side below 160 pixels is enlarged by an integer factor.
pub fn with_findings(
    renderer: &TextRenderer,
    image: &RgbImage,
    detections: &[Detection],
    classes: &[Classification],
) -> RgbImage {
    let (width, height) = image.dimensions();
    let factor = MIN_LONG_SIDE.div_ceil(width.max(height).max(1));
    let copy = match factor {
        1 => image.clone(),
        _ => imageops::resize(image, width * factor, height * factor, imageops::FilterType::Nearest),
    };
    let mut annotated = AnnotatedImage::new(renderer, copy);
    annotated.detections(detections, factor as f32);
    annotated.classes(classes);
    annotated.into_image()
}

#[cfg(test)]
mod tests {
    use image::Rgb;
    use lookout_schema::BBox;

    use super::*;

    const GREY: Rgb<u8> = Rgb([90, 90, 90]);

    fn detection(label: &str, corners: [f32; 4]) -> Detection {
        Detection {
            class_id: 3,
            label: label.into(),
            score: 0.934,
            bbox: BBox::from(corners),
            classes: Vec::new(),
        }
    }

    fn class(label: &str) -> Classification {
        Classification { class_id: 7, label: label.into(), score: 0.5 }
    }

    fn draw(size: (u32, u32), detections: &[Detection], classes: &[Classification]) -> RgbImage {
        let image = RgbImage::from_pixel(size.0, size.1, GREY);
        with_findings(&TextRenderer::new(), &image, detections, classes)
    }

    /// Returns the number of pixels that differ from the original image.
    fn changed(image: &RgbImage) -> usize {
        image.pixels().filter(|pixel| **pixel != GREY).count()
    }

    #[test]
    fn without_detections_the_copy_equals_the_image() {
        let copy = draw((200, 100), &[], &[]);
        assert_eq!(copy.dimensions(), (200, 100));
        assert_eq!(changed(&copy), 0);
    }

    #[test]
    fn draws_boxes_at_the_border_within_the_image() {
        let copy = draw((320, 240), &[detection("person", [0.0, 0.0, 320.0, 240.0])], &[]);
        let color = crate::of_class(3);
        for corner in [(0, 120), (319, 120), (160, 239), (319, 0), (0, 239)] {
            assert_eq!(*copy.get_pixel(corner.0, corner.1), color, "{corner:?}");
        }
        assert_eq!(*copy.get_pixel(160, 120), GREY);
    }

    #[test]
    fn tiny_and_invalid_boxes_do_not_panic() {
        for corners in [
            [10.2, 10.2, 10.4, 10.4],
            [319.5, 239.5, 320.0, 240.0],
            [0.0, 0.0, 0.001, 240.0],
            [f32::NAN, f32::INFINITY, -1.0, 1e30],
            [900.0, 900.0, 950.0, 950.0],
        ] {
            assert!(changed(&draw((320, 240), &[detection("dot", corners)], &[])) > 0, "{corners:?}");
        }
    }

    #[test]
    fn enlarges_tiny_images_until_labels_are_legible() {
        let copy = draw((20, 20), &[detection("person", [5.0, 10.0, 15.0, 18.0])], &[]);
        assert_eq!(copy.dimensions(), (160, 160));
        // The box at eight times its coordinates, and a label background of the width of ten letters.
        let color = crate::of_class(3);
        assert_eq!(*copy.get_pixel(40, 130), color);
        let plate = copy.enumerate_pixels().filter(|(_, y, pixel)| *y < 76 && **pixel == color).count();
        assert!(plate > 300, "{plate}");
        // Narrow images and images of a single pixel.
        draw((1, 1), &[detection("person", [0.0, 0.0, 1.0, 1.0])], &[class("cat")]);
        draw((2, 4000), &[detection("person", [0.0, 0.0, 2.0, 4000.0])], &[class("cat")]);
        draw((4000, 2), &[detection("person", [0.0, 0.0, 4000.0, 2.0])], &[class("cat")]);
    }

    #[test]
    fn line_and_font_size_scale_with_the_image() {
        let share = |scale: u32| {
            let [x, y] = [40.0, 30.0].map(|side: f32| side * scale as f32);
            let size = (400 * scale, 300 * scale);
            let copy = draw(size, &[detection("person", [x, y * 2.0, x * 5.0, y * 6.0])], &[]);
            changed(&copy) as f64 / f64::from(size.0 * size.1)
        };
        let (small, large) = (share(1), share(10));
        assert!((0.5..2.0).contains(&(small / large)), "{small} {large}");
    }

    #[test]
    fn any_label_stays_within_the_image() {
        let long = "a very long name of a class that no image is wide enough for ".repeat(40);
        for label in [
            "",
            " ",
            "line\nbreak\ttab",
            "стоп",
            "行人",
            "🚗\u{200d}🚗",
            "e\u{301}\u{202e}abc",
            long.as_str(),
        ] {
            for corners in [[0.0, 0.0, 30.0, 20.0], [290.0, 220.0, 320.0, 240.0], [0.0, 0.0, 320.0, 240.0]] {
                let copy = draw((320, 240), &[detection(label, corners)], &[class(label)]);
                assert_eq!(copy.dimensions(), (320, 240));
                assert!(changed(&copy) > 0, "{label}");
            }
        }
    }

    #[test]
    fn lists_classes_in_the_upper_left_corner() {
        let classes: Vec<Classification> = (0..500).map(|n| class(&format!("class {n}"))).collect();
        let copy = draw((640, 480), &[], &classes[..2]);
        let (left, right) = (copy.clone(), copy);
        let left = imageops::crop_imm(&left, 0, 0, 320, 240).to_image();
        let right = imageops::crop_imm(&right, 320, 240, 320, 240).to_image();
        assert!(changed(&left) > 1000 && changed(&right) == 0);
        draw((640, 480), &[], &classes);
    }
}
