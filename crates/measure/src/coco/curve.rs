//! Precision-recall curves: `COCOeval.accumulate`.

use super::matching::Judged;

/// Number of recalls at which the precision is sampled: 0, 0.01, .. 1.
const RECALLS: usize = 101;

/// A setting of the evaluation: area range, IoU threshold, and maximum number of detections per image.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    /// Index in [`super::matching::AREAS`].
    pub(super) area: usize,
    /// Index in [`super::matching::THRESHOLDS`].
    pub(super) threshold: usize,
    pub(super) most: usize,
}

impl View {
    /// Returns whether a detection is a true positive, or `None` if it is not counted.
    pub(super) fn is_right(&self, judged: &Judged) -> Option<bool> {
        let bit = 1 << self.threshold;
        let counts = judged.rank < self.most && judged.ignored[self.area] & bit == 0;
        counts.then_some(judged.matched[self.area] & bit != 0)
    }
}

/// Returns the recall of all detections, regardless of their scores. `judged` may have any order.
pub(super) fn recall(judged: &[Judged], objects: usize, view: View) -> f64 {
    let right = judged.iter().filter(|judged| view.is_right(judged) == Some(true)).count();
    right as f64 / objects as f64
}

/// Returns the average precision: the mean of [`precisions`]. `judged` must be sorted by descending score.
pub(super) fn average_precision(judged: &[Judged], objects: usize, view: View) -> f64 {
    precisions(judged, objects, view).iter().sum::<f64>() / RECALLS as f64
}

/// Returns the interpolated precision at the recalls 0, 0.01, .. 1: the highest precision at this or a higher recall.
/// `judged` must be sorted by descending score.
pub(super) fn precisions(judged: &[Judged], objects: usize, view: View) -> Vec<f64> {
    let (mut right, mut all) = (0_u32, 0_u32);
    let mut points: Vec<[f64; 2]> = Vec::new();
    for is_right in judged.iter().filter_map(|judged| view.is_right(judged)) {
        right += u32::from(is_right);
        all += 1;
        let precision = f64::from(right) / (f64::from(all) + f64::EPSILON);
        points.push([f64::from(right) / objects as f64, precision]);
    }
    let mut best = 0.0;
    for [_, precision] in points.iter_mut().rev() {
        best = f64::max(best, *precision);
        *precision = best;
    }
    let at = |step: usize| {
        let recall = step as f64 * 0.01;
        points.get(points.partition_point(|[reached, _]| *reached < recall)).map_or(0.0, |[_, best]| *best)
    };
    (0..RECALLS).map(at).collect()
}
