//! Boxes as center, width and height.

use lookout_schema::BBox;

/// Returns center x, center y, width and height.
pub(crate) fn parts(bbox: BBox) -> [f64; 4] {
    let [x1, y1, x2, y2] = <[f32; 4]>::from(bbox).map(f64::from);
    [(x1 + x2) / 2.0, (y1 + y2) / 2.0, x2 - x1, y2 - y1]
}

/// Returns the box with this center, width and height.
pub(crate) fn from_parts([x, y, width, height]: [f64; 4]) -> BBox {
    let (half_width, half_height) = (width / 2.0, height / 2.0);
    BBox::from([x - half_width, y - half_height, x + half_width, y + half_height].map(|side| side as f32))
}
