//! Text rendering on images.

use ab_glyph::{Font, FontRef, Glyph, Point, PxScale, ScaleFont};
use image::{Rgb, RgbImage};

/// Renders text in DejaVu Sans, which covers most alphabets. Characters without a glyph appear as an empty box.
#[derive(Debug)]
pub struct TextRenderer {
    font: Option<FontRef<'static>>,
}

/// A laid-out line of text.
#[derive(Debug)]
pub(crate) struct Line {
    glyphs: Vec<Glyph>,
    /// Width in pixels, rounded up.
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl TextRenderer {
    /// Creates a renderer with the font that is part of the program.
    pub fn new() -> Self {
        Self { font: FontRef::try_from_slice(dejavu::sans::regular()).ok() }
    }

    /// Lays out `text` in one line with a font height of `size` pixels. Control characters, including line breaks,
    /// become spaces.
    pub(crate) fn set(&self, text: &str, size: f32) -> Line {
        let Some(font) = &self.font else {
            return Line { glyphs: Vec::new(), width: 0, height: size as u32 };
        };
        let font = font.as_scaled(PxScale::from(size));
        let mut glyphs: Vec<Glyph> = Vec::new();
        let mut x = 0.0;
        for character in text.chars() {
            let character = if character.is_control() { ' ' } else { character };
            let mut glyph = font.scaled_glyph(character);
            x += glyphs.last().map_or(0.0, |last| font.kern(last.id, glyph.id));
            glyph.position = Point { x, y: font.ascent() };
            x += font.h_advance(glyph.id);
            glyphs.push(glyph);
        }
        Line { glyphs, width: x.ceil() as u32, height: font.height().ceil() as u32 }
    }

    /// Draws `line` with its upper left corner at `x` and `y`, clipped to the image.
    pub(crate) fn write(&self, image: &mut RgbImage, line: &Line, [x, y]: [u32; 2], ink: Rgb<u8>) {
        let Some(font) = &self.font else { return };
        for glyph in &line.glyphs {
            let Some(outline) = font.outline_glyph(glyph.clone()) else { continue };
            let corner = outline.px_bounds().min;
            let [left, top] = [f64::from(x) + f64::from(corner.x), f64::from(y) + f64::from(corner.y)];
            outline.draw(|dx, dy, cover| {
                let (x, y) = (left + f64::from(dx), top + f64::from(dy));
                if x < 0.0 || y < 0.0 {
                    return;
                }
                if let Some(pixel) = image.get_pixel_mut_checked(x as u32, y as u32) {
                    *pixel = mixed(*pixel, ink, cover.clamp(0.0, 1.0));
                }
            });
        }
    }
}

fn mixed(under: Rgb<u8>, over: Rgb<u8>, cover: f32) -> Rgb<u8> {
    let channel =
        |c: usize| (f32::from(under.0[c]) * (1.0 - cover) + f32::from(over.0[c]) * cover).round() as u8;
    Rgb([channel(0), channel(1), channel(2)])
}

impl Default for TextRenderer {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_font_can_be_loaded() {
        assert!(TextRenderer::new().font.is_some());
    }
}
