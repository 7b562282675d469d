//! A white image with lines, rectangles and text.

use image::{Rgb, RgbImage};
use lookout_schema::Rect;

use crate::{canvas, text::TextRenderer};

/// Font height in pixels.
pub(crate) const LETTERS: u32 = 15;

/// The background color of charts.
pub(crate) const GROUND: Rgb<u8> = Rgb([255, 255, 255]);
/// The color of the text and the axes of charts.
pub const INK: Rgb<u8> = Rgb([40, 40, 40]);

/// A white image to draw on. Everything outside of it is clipped.
#[derive(Debug)]
pub(crate) struct Chart {
    image: RgbImage,
    renderer: TextRenderer,
}

impl Chart {
    /// Creates a white image of a width and height in pixels.
    pub(crate) fn new([width, height]: [u32; 2]) -> Self {
        Self { image: RgbImage::from_pixel(width, height, GROUND), renderer: TextRenderer::new() }
    }

    pub(crate) fn into_image(self) -> RgbImage {
        self.image
    }

    /// Draws a line two pixels wide, so that it is visible on a large screen.
    pub(crate) fn line(&mut self, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2], color: Rgb<u8>) {
        let length = (x2 - x1).abs().max((y2 - y1).abs()).ceil().max(1.0);
        for i in 0..=length as u32 {
            let part = f64::from(i) / length;
            let (x, y) = (x1 + (x2 - x1) * part, y1 + (y2 - y1) * part);
            for (dx, dy) in [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)] {
                if let Some(pixel) = self.image.get_pixel_mut_checked((x + dx) as u32, (y + dy) as u32) {
                    *pixel = color;
                }
            }
        }
    }

    pub(crate) fn fill(&mut self, area: Rect, color: Rgb<u8>) {
        canvas::fill(&mut self.image, area, color);
    }

    /// Draws text with its upper left corner at `corner`.
    pub(crate) fn write(&mut self, text: &str, corner: [u32; 2], ink: Rgb<u8>) {
        let line = self.renderer.set(text, LETTERS as f32);
        self.renderer.write(&mut self.image, &line, corner, ink);
    }

    /// Returns the width of a text in pixels.
    pub(crate) fn width_of(&self, text: &str) -> u32 {
        self.renderer.set(text, LETTERS as f32).width
    }
}
