//! Matching of detections with objects: `COCOeval.evaluateImg`.

use lookout_schema::BBox;

use super::FoundObject;
use crate::ObjectTarget;

/// The IoU thresholds: numpy's `linspace(.5, .95, 10)`, with its rounding errors, which matter if an IoU is equal to a
/// threshold.
pub(super) const THRESHOLDS: [f64; 10] =
    [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.899_999_999_999_999_9, 0.95];

/// The area ranges all, small, medium and large, in square pixels. Both bounds are inclusive.
pub(super) const AREAS: [[f64; 2]; 4] = [[0.0, 1e10], [0.0, 1024.0], [1024.0, 9216.0], [9216.0, 1e10]];

/// Maximum number of detections per class and image that are evaluated.
pub(super) const MOST: usize = 100;

/// An evaluated detection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judged {
    pub(super) score: f32,
    /// Number of detections with a higher score, of the same class and image.
    pub(super) rank: usize,
    /// Whether it matches an object: for each of [`AREAS`], one bit for each of [`THRESHOLDS`].
    pub(super) matched: [u16; AREAS.len()],
    /// Whether it is not counted, in the same layout.
    pub(super) ignored: [u16; AREAS.len()],
}

/// A ground-truth object, prepared for matching.
#[derive(Debug, Clone, Copy)]
pub(super) struct Object {
    corners: [f64; 4],
    area: f64,
    ignore: bool,
    crowd: bool,
}

impl Object {
    pub(super) fn new(object: &ObjectTarget, ignored_are_crowds: bool) -> Self {
        Self {
            corners: corners(object.bbox),
            area: f64::from(object.area),
            ignore: object.ignore,
            crowd: object.ignore && ignored_are_crowds,
        }
    }

    /// Returns whether the object does not count as a false negative if it is not found.
    pub(super) fn is_ignored(&self, area: [f64; 2]) -> bool {
        self.ignore || lies_out(self.area, area)
    }
}

/// Matches the detections of a class in an image with its objects. Detections beyond [`MOST`] are dropped.
pub(super) fn judged(objects: &[Object], mut found: Vec<FoundObject>) -> Vec<Judged> {
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found.truncate(MOST);
    let mut judged: Vec<Judged> = (0..)
        .zip(&found)
        .map(|(rank, found)| Judged { score: found.score, rank, matched: [0; 4], ignored: [0; 4] })
        .collect();
    let overlaps: Vec<Vec<f64>> = found.iter().map(|found| overlaps(found.bbox, objects)).collect();
    for (at, area) in AREAS.into_iter().enumerate() {
        // Sorts ignored objects to the end, so that one is matched only if no other object can be.
        let mut order: Vec<usize> = (0..objects.len()).collect();
        order.sort_by_key(|i| objects[*i].is_ignored(area));
        for (bit, threshold) in THRESHOLDS.into_iter().enumerate() {
            let mut taken = vec![false; objects.len()];
            for (judged, overlaps) in judged.iter_mut().zip(&overlaps) {
                let free = order.iter().copied().filter(|i| !taken[*i] || objects[*i].crowd);
                let shown = free.map(|i| (i, overlaps[i], objects[i].is_ignored(area)));
                let Some((i, is_ignored)) = best(shown, threshold) else { continue };
                taken[i] = true;
                judged.matched[at] |= 1 << bit;
                judged.ignored[at] |= u16::from(is_ignored) << bit;
            }
        }
        for (judged, found) in judged.iter_mut().zip(&found) {
            if lies_out(area_of(corners(found.bbox)), area) {
                judged.ignored[at] |= !judged.matched[at];
            }
        }
    }
    judged
}

/// Returns the object that a detection matches, and whether it is ignored. `objects` are `(object, overlap, is
/// ignored)`, with the ignored ones last. The object with the highest overlap is matched, the last of equal ones. An
/// ignored object is matched only if no other can be.
fn best(objects: impl Iterator<Item = (usize, f64, bool)>, threshold: f64) -> Option<(usize, bool)> {
    let mut least = threshold.min(1.0 - 1e-10);
    let mut best = None;
    for (object, overlap, is_ignored) in objects {
        if is_ignored && matches!(best, Some((_, false))) {
            break;
        }
        if overlap >= least {
            least = overlap;
            best = Some((object, is_ignored));
        }
    }
    best
}

/// Returns the IoU with each object. For a crowd, the intersection is divided by the detection's own area.
fn overlaps(found: BBox, objects: &[Object]) -> Vec<f64> {
    let found = corners(found);
    let overlap = |object: &Object| {
        let [f, o] = [found, object.corners];
        let width = f[2].min(o[2]) - f[0].max(o[0]);
        let height = f[3].min(o[3]) - f[1].max(o[1]);
        if width <= 0.0 || height <= 0.0 {
            return 0.0;
        }
        let both = width * height;
        let all = if object.crowd { area_of(f) } else { area_of(f) + area_of(o) - both };
        both / all
    };
    objects.iter().map(overlap).collect()
}

fn corners(bbox: BBox) -> [f64; 4] {
    <[f32; 4]>::from(bbox).map(f64::from)
}

fn area_of([x1, y1, x2, y2]: [f64; 4]) -> f64 {
    (x2 - x1) * (y2 - y1)
}

fn lies_out(area: f64, [least, most]: [f64; 2]) -> bool {
    area < least || area > most
}
