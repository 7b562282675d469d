//! Which detection found which object: `COCOeval.evaluateImg`.

use lookout_schema::BBox;

use super::FoundObject;
use crate::ObjectTarget;

/// Intersections over union that a detection has to reach, each a measure of its own: numpy's
/// `linspace(.5, .95, 10)`, whose last digits matter where a box reaches just as much.
pub(super) const THRESHOLDS: [f64; 10] =
    [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.899_999_999_999_999_9, 0.95];

/// All areas, small, medium and large ones, in square pixels; the ends belong to both.
pub(super) const AREAS: [[f64; 2]; 4] = [[0.0, 1e10], [0.0, 1024.0], [1024.0, 9216.0], [9216.0, 1e10]];

/// The most detections of a class in a picture that are looked at.
pub(super) const MOST: usize = 100;

/// What became of a detection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judged {
    pub(super) score: f32,
    /// How many of its class and picture are surer.
    pub(super) rank: usize,
    /// For each of [`AREAS`], by a bit for each of [`THRESHOLDS`], whether it found an object.
    pub(super) matched: [u16; AREAS.len()],
    /// Likewise, whether it counts as nothing.
    pub(super) ignored: [u16; AREAS.len()],
}

/// An object of the truth, as it is compared.
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

    /// Whether it is none of those that are to be found.
    pub(super) fn is_ignored(&self, area: [f64; 2]) -> bool {
        self.ignore || lies_out(self.area, area)
    }
}

/// Judges the detections of a class in a picture; those that are not looked at are left out.
pub(super) fn judged(objects: &[Object], mut found: Vec<FoundObject>) -> Vec<Judged> {
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found.truncate(MOST);
    let mut judged: Vec<Judged> = (0..)
        .zip(&found)
        .map(|(rank, found)| Judged { score: found.score, rank, matched: [0; 4], ignored: [0; 4] })
        .collect();
    let overlaps: Vec<Vec<f64>> = found.iter().map(|found| overlaps(found.bbox, objects)).collect();
    for (at, area) in AREAS.into_iter().enumerate() {
        // Those to be found first, so that an ignored one is taken where there is none else.
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

/// The object that a detection finds and whether it is ignored, of `(object, overlap, is ignored)`, the ignored ones
/// last: that of the greatest overlap, of equals the last; an ignored one only where there is none else.
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

/// Intersection over union with each object; over the detection's own area with a crowd.
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
