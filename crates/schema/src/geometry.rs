//! Sizes, rectangles and bounding boxes in pixels.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Size {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// `[x1, y1, x2, y2]` in pixels of the source frame, `x2 > x1`, `y2 > y1`, within the frame.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "[f32; 4]", into = "[f32; 4]")]
#[schemars(with = "[f32; 4]")]
pub struct BBox {
    /// Left edge.
    pub x1: f32,
    /// Top edge.
    pub y1: f32,
    /// Right edge.
    pub x2: f32,
    /// Bottom edge.
    pub y2: f32,
}

/// A rectangle in whole pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rect {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

impl BBox {
    /// Returns the part of this box that is within a frame of `size`, or `None` if that part has no area or a
    /// coordinate is NaN.
    pub fn clipped(self, size: Size) -> Option<Self> {
        let (width, height) = (size.width as f32, size.height as f32);
        let clipped = Self {
            x1: self.x1.clamp(0.0, width),
            y1: self.y1.clamp(0.0, height),
            x2: self.x2.clamp(0.0, width),
            y2: self.y2.clamp(0.0, height),
        };
        (clipped.x2 > clipped.x1 && clipped.y2 > clipped.y1).then_some(clipped)
    }

    /// Returns the intersection over union, 0 to 1. It is 0 if neither box has an area.
    pub fn iou(self, other: Self) -> f64 {
        let [a, b] = [self, other].map(|b| <[f32; 4]>::from(b).map(f64::from));
        let side = |axis: usize| (a[axis + 2].min(b[axis + 2]) - a[axis].max(b[axis])).max(0.0);
        let area = |of: [f64; 4]| (of[2] - of[0]).max(0.0) * (of[3] - of[1]).max(0.0);
        let both = side(0) * side(1);
        let union = area(a) + area(b) - both;
        if union > 0.0 { both / union } else { 0.0 }
    }
}

impl From<[f32; 4]> for BBox {
    fn from([x1, y1, x2, y2]: [f32; 4]) -> Self {
        Self { x1, y1, x2, y2 }
    }
}

impl From<BBox> for [f32; 4] {
    fn from(b: BBox) -> Self {
        [b.x1, b.y1, b.x2, b.y2]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn clipped_boxes_have_an_area_within_the_frame(corners in any::<[f32; 4]>(), width in 1u32..8192, height in 1u32..8192) {
            if let Some(b) = BBox::from(corners).clipped(Size { width, height }) {
                prop_assert!(0.0 <= b.x1 && b.x1 < b.x2 && b.x2 <= width as f32);
                prop_assert!(0.0 <= b.y1 && b.y1 < b.y2 && b.y2 <= height as f32);
            }
        }
    }

    #[test]
    fn computes_the_iou() {
        let iou = |a: [f32; 4], b: [f32; 4]| BBox::from(a).iou(b.into());
        assert!((iou([0.0, 0.0, 4.0, 2.0], [2.0, 0.0, 6.0, 2.0]) - 1.0 / 3.0).abs() < 1e-12);
        assert!((iou([1.0, 1.0, 3.0, 3.0], [1.0, 1.0, 3.0, 3.0]) - 1.0).abs() < 1e-12);
        for apart in [[5.0, 5.0, 6.0, 6.0], [4.0, 0.0, 6.0, 2.0], [9.0, 9.0, 9.0, 9.0]] {
            assert_eq!(iou([0.0, 0.0, 4.0, 2.0], apart), 0.0);
        }
        assert_eq!(iou([1.0; 4], [1.0; 4]), 0.0, "no area");
    }

    #[test]
    fn rejects_nan_and_boxes_outside_the_frame() {
        let size = Size { width: 10, height: 10 };
        assert_eq!(BBox::from([f32::NAN, 0.0, 5.0, 5.0]).clipped(size), None);
        assert_eq!(BBox::from([20.0, 0.0, 25.0, 5.0]).clipped(size), None);
    }
}
