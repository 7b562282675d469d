//! The expansion-rate estimator of an object, which ignores boxes that are not valid measurements.

use lookout_schema::{BBox, Size};
use lookout_track::{TtcEstimate, TtcEstimator};

use crate::linear_estimate::SIDE_ERROR_PX;

/// A box closer to the image border than this may be truncated by it, in pixels.
const BORDER_PX: f32 = 2.0;

/// The maximum deviation of a box's size from the predicted size, as a logarithm, in addition to four
/// standard deviations of its jitter. A larger deviation means a box of two merged objects, or of half an
/// object.
const MAX_JUMP: f64 = 0.15;

/// After this number of consecutive outliers the estimate restarts with the new size.
const MAX_JUMPS: u32 = 3;

/// The expansion-rate estimator of one object.
#[derive(Debug, Clone, Default)]
pub(crate) struct ExpansionRate {
    estimate: TtcEstimator,
    last: Option<Last>,
    jumps: u32,
    boxes: u32,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    at_s: f64,
    size: f64,
    closing: Option<TtcEstimate>,
}

impl ExpansionRate {
    /// Updates the estimate with a box. Returns `None` if the box is not a valid measurement.
    pub(crate) fn step(&mut self, at_s: f64, bbox: BBox) -> Option<TtcEstimate> {
        let size = size(bbox);
        if self.last.is_some_and(|last| last.is_far_from(at_s, size)) {
            self.jumps += 1;
            if self.jumps < MAX_JUMPS {
                return None;
            }
            *self = Self::default();
        }
        self.jumps = 0;
        self.boxes += 1;
        let closing = self.estimate.step(at_s, square(size));
        self.last = Some(Last { at_s, size, closing });
        closing
    }

    /// Returns the number of boxes that the estimate is based on.
    pub(crate) fn boxes(&self) -> u32 {
        self.boxes
    }
}

impl Last {
    fn is_far_from(&self, at_s: f64, size: f64) -> bool {
        let grown = self.closing.map_or(0.0, |closing| closing.rate * (at_s - self.at_s));
        let expected = self.size / (1.0 - grown).clamp(0.5, 2.0);
        let jitter = 4.0 * SIDE_ERROR_PX * 2.0_f64.sqrt() / expected;
        ((size / expected).ln()).abs() > MAX_JUMP + jitter
    }
}

/// Returns the root mean square of a box's sides. Both sides have the same jitter in pixels, so the longer
/// side has the smaller relative error. Of all measures that grow with both sides, this one has the smallest
/// relative error.
fn size(bbox: BBox) -> f64 {
    let [width, height] = [bbox.x2 - bbox.x1, bbox.y2 - bbox.y1].map(f64::from);
    (width.hypot(height)) / 2.0_f64.sqrt()
}

/// Returns a square box of that size, whose size error equals that of `size`.
fn square(size: f64) -> BBox {
    BBox::from([0.0, 0.0, size as f32, size as f32])
}

/// Returns whether a box is complete, that is, not truncated by the image border.
pub(crate) fn is_whole(bbox: BBox, source: Size) -> bool {
    let (width, height) = (source.width as f32, source.height as f32);
    bbox.x1 > BORDER_PX && bbox.y1 > BORDER_PX && bbox.x2 < width - BORDER_PX && bbox.y2 < height - BORDER_PX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(size: f64) -> BBox {
        let half = (size / 2.0) as f32;
        BBox::from([500.0 - half, 300.0 - half, 500.0 + half, 300.0 + half])
    }

    #[test]
    fn ignores_brief_size_jumps_and_restarts_at_lasting_ones() {
        let mut growth = ExpansionRate::default();
        let mut closing = None;
        for frame in 0..30 {
            let size = if frame % 7 == 5 { 180.0 } else { 100.0 };
            closing = growth.step(f64::from(frame) / 10.0, boxed(size)).or(closing);
        }
        let closing = closing.unwrap();
        assert!(closing.rate.abs() < 0.01 && growth.boxes() > 20, "{closing:?}");
        for frame in 30..40 {
            growth.step(f64::from(frame) / 10.0, boxed(180.0));
        }
        assert_eq!(growth.boxes(), 8);
    }

    #[test]
    fn boxes_at_the_border_are_truncated() {
        let source = Size { width: 1000, height: 600 };
        assert!(is_whole(boxed(100.0), source));
        for cut in [[0.0, 10.0, 50.0, 60.0], [10.0, 550.0, 50.0, 600.0], [950.0, 10.0, 999.0, 60.0]] {
            assert!(!is_whole(BBox::from(cut), source), "{cut:?}");
        }
    }
}
