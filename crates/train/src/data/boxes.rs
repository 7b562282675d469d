//! Validation of boxes from annotation files.

use lookout_schema::{BBox, MAX_SIDE, Size};

use super::{SkipReason, Skipped};

/// How far a box may extend beyond the border before it is counted as cut, in pixels. Annotation tools round.
const SLACK: f64 = 1.0;

/// Returns the part of `x1, y1, x2, y2` that lies in an image of `size`.
pub(super) fn valid_box(corners: [f64; 4], size: Size, skipped: &mut Skipped) -> Result<BBox, SkipReason> {
    if corners.iter().any(|corner| !corner.is_finite()) {
        return Err(SkipReason::NotANumber);
    }
    let [x1, y1, x2, y2] = corners;
    if x2 <= x1 || y2 <= y1 {
        return Err(SkipReason::NoArea);
    }
    let (width, height) = (f64::from(size.width), f64::from(size.height));
    if x2 <= 0.0 || y2 <= 0.0 || x1 >= width || y1 >= height {
        return Err(SkipReason::Outside);
    }
    let bbox = BBox::from(corners.map(|corner| corner as f32));
    // A box that is thinner than the resolution of `f32` has no area.
    let clipped = bbox.clipped(size).ok_or(SkipReason::NoArea)?;
    if x1 < -SLACK || y1 < -SLACK || x2 > width + SLACK || y2 > height + SLACK {
        skipped.add_clipped();
    }
    Ok(clipped)
}

/// Returns the size if both sides are whole numbers from 1 to the maximum.
pub(super) fn size(width: f64, height: f64) -> Option<Size> {
    let side = |side: f64| {
        (side.fract() == 0.0 && (1.0..=f64::from(MAX_SIDE)).contains(&side)).then_some(side as u32)
    };
    Some(Size { width: side(width)?, height: side(height)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { width: 100, height: 50 };

    fn of(corners: [f64; 4]) -> (Result<[f32; 4], SkipReason>, usize) {
        let mut skipped = Skipped::default();
        let bbox = valid_box(corners, SIZE, &mut skipped);
        (bbox.map(Into::into), skipped.clipped_at_border())
    }

    #[test]
    fn unusable_boxes_have_a_reason() {
        assert_eq!(of([10.0, 10.0, 10.0, 20.0]).0, Err(SkipReason::NoArea));
        assert_eq!(of([20.0, 10.0, 10.0, 20.0]).0, Err(SkipReason::NoArea));
        assert_eq!(of([1.0, 1.0, 1.0 + 1e-12, 2.0]).0, Err(SkipReason::NoArea));
        assert_eq!(of([100.0, 10.0, 110.0, 20.0]).0, Err(SkipReason::Outside));
        assert_eq!(of([f64::NAN, 10.0, 110.0, 20.0]).0, Err(SkipReason::NotANumber));
        assert_eq!(of([0.0, 10.0, f64::INFINITY, 20.0]).0, Err(SkipReason::NotANumber));
    }

    #[test]
    fn boxes_are_clipped_and_counted_beyond_one_pixel() {
        assert_eq!(of([-0.5, 0.0, 100.5, 50.0]), (Ok([0.0, 0.0, 100.0, 50.0]), 0));
        assert_eq!(of([-5.0, 10.0, 20.0, 1e300]), (Ok([0.0, 10.0, 20.0, 50.0]), 1));
    }

    #[test]
    fn absurd_sizes_are_rejected() {
        assert_eq!(size(640.0, 480.0), Some(Size { width: 640, height: 480 }));
        for (width, height) in [(0.0, 1.0), (-1.0, 5.0), (1e9, 5.0), (3.5, 5.0), (f64::NAN, 5.0)] {
            assert_eq!(size(width, height), None);
        }
    }
}
