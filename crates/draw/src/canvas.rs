//! Rectangles of pixels.

use image::{Rgb, RgbImage};
use lookout_schema::{BBox, Rect};

/// Returns the pixels that `bbox` touches within `image`, at least one. `image` must have an area; `bbox` may have
/// any values.
pub(crate) fn touched(bbox: BBox, image: Rect) -> Rect {
    let axis = |low: f32, high: f32, side: u32| {
        let low = (low.floor() as u32).min(side - 1);
        (low, (high.ceil() as u32).clamp(low + 1, side) - low)
    };
    let (x, width) = axis(bbox.x1, bbox.x2, image.width);
    let (y, height) = axis(bbox.y1, bbox.y2, image.height);
    Rect { x, y, width, height }
}

/// Fills the part of `area` that lies in the image.
pub(crate) fn fill(image: &mut RgbImage, area: Rect, color: Rgb<u8>) {
    let (width, height) = image.dimensions();
    for y in area.y..(area.y + area.height).min(height) {
        for x in area.x..(area.x + area.width).min(width) {
            image.put_pixel(x, y, color);
        }
    }
}

/// Draws a border inside of `area`, `line` pixels wide.
pub(crate) fn frame(image: &mut RgbImage, area: Rect, line: u32, color: Rgb<u8>) {
    let Rect { x, y, width, height } = area;
    let (across, down) = (line.min(width), line.min(height));
    fill(image, Rect { height: down, ..area }, color);
    fill(image, Rect { y: y + height - down, height: down, ..area }, color);
    fill(image, Rect { width: across, ..area }, color);
    fill(image, Rect { x: x + width - across, width: across, ..area }, color);
}

/// Shrinks `area` by `by` pixels at each side, to at least one pixel.
pub(crate) fn inset(area: Rect, by: u32) -> Rect {
    let [dx, dy] = [area.width, area.height].map(|side| by.min((side - 1) / 2));
    Rect { x: area.x + dx, y: area.y + dy, width: area.width - 2 * dx, height: area.height - 2 * dy }
}

/// Returns whether two rectangles have a pixel in common.
pub(crate) fn overlap(a: Rect, b: Rect) -> bool {
    a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height
}
