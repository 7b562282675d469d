//! Lines and letters on pictures of numbers.

use ab_glyph::{Font, FontRef, PxScale, ScaleFont};
use image::{Rgb, RgbImage};

/// How high letters are, in pixels.
pub(crate) const LETTERS: f32 = 15.0;

pub(crate) const GROUND: Rgb<u8> = Rgb([255, 255, 255]);
pub(crate) const INK: Rgb<u8> = Rgb([40, 40, 40]);

/// A picture that is drawn on. What does not lie on it is not drawn.
#[derive(Debug)]
pub(crate) struct Drawing {
    pub(crate) picture: RgbImage,
}

impl Drawing {
    /// An empty one of a width and height.
    pub(crate) fn new([width, height]: [u32; 2]) -> Self {
        Self { picture: RgbImage::from_pixel(width, height, GROUND) }
    }

    pub(crate) fn line(&mut self, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2], colour: Rgb<u8>) {
        let length = (x2 - x1).abs().max((y2 - y1).abs()).ceil().max(1.0);
        for i in 0..=length as u32 {
            let part = f64::from(i) / length;
            let (x, y) = (x1 + (x2 - x1) * part, y1 + (y2 - y1) * part);
            // Two pixels wide, so that it is seen on a large screen.
            for (dx, dy) in [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)] {
                if let Some(pixel) = self.picture.get_pixel_mut_checked((x + dx) as u32, (y + dy) as u32) {
                    *pixel = colour;
                }
            }
        }
    }

    pub(crate) fn fill(&mut self, [left, top]: [u32; 2], [width, height]: [u32; 2], colour: Rgb<u8>) {
        for y in top..top + height {
            for x in left..left + width {
                if let Some(pixel) = self.picture.get_pixel_mut_checked(x, y) {
                    *pixel = colour;
                }
            }
        }
    }

    /// Writes from a corner to the right and below.
    pub(crate) fn write(&mut self, text: &str, corner: [u32; 2]) {
        self.write_in(text, corner, INK);
    }

    pub(crate) fn write_in(&mut self, text: &str, [left, top]: [u32; 2], ink: Rgb<u8>) {
        let Ok(font) = FontRef::try_from_slice(dejavu::sans::regular()) else { return };
        let scaled = font.as_scaled(PxScale::from(LETTERS));
        let mut x = left as f32;
        for character in text.chars() {
            let mut glyph = scaled.scaled_glyph(character);
            glyph.position = ab_glyph::Point { x, y: top as f32 + scaled.ascent() };
            x += scaled.h_advance(glyph.id);
            let Some(outline) = font.outline_glyph(glyph) else { continue };
            let corner = outline.px_bounds().min;
            outline.draw(|dx, dy, cover| {
                let (x, y) = (corner.x + dx as f32, corner.y + dy as f32);
                if x < 0.0 || y < 0.0 {
                    return;
                }
                if let Some(pixel) = self.picture.get_pixel_mut_checked(x as u32, y as u32) {
                    let mixed = |under: u8, over: u8| {
                        (f32::from(under) * (1.0 - cover) + f32::from(over) * cover).clamp(0.0, 255.0) as u8
                    };
                    *pixel = Rgb(std::array::from_fn(|c| mixed(pixel.0[c], ink.0[c])));
                }
            });
        }
    }
}

/// How wide a text is when it is written, in pixels.
pub(crate) fn width_of(text: &str) -> u32 {
    let Ok(font) = FontRef::try_from_slice(dejavu::sans::regular()) else { return 0 };
    let scaled = font.as_scaled(PxScale::from(LETTERS));
    text.chars().map(|character| scaled.h_advance(scaled.glyph_id(character))).sum::<f32>().ceil() as u32
}
