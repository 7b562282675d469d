//! Non-maximum suppression, on the host: of boxes that lie on one another, the one with the highest score.
//!
//! It is quadratic and branches on every pair, which a GPU does in kernels that libtorch does not have, and
//! which tensor operators do in a matrix of all pairs; on a few thousand candidates this is faster than
//! either (see `benches` in the tests beside this file).

use super::found::Row;

/// Which boxes suppress which.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Suppression {
    /// A box whose intersection over union with a better one is above this is left out.
    pub(super) iou: f64,
    /// No more than this many are kept.
    pub(super) keep: usize,
}

/// Boxes that may suppress one another.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// `x1, y1, x2, y2`
    pub(super) boxes: Vec<[f32; 4]>,
    pub(super) scores: Vec<f32>,
    /// Boxes of two groups do not suppress each other.
    pub(super) groups: Vec<u32>,
}

impl Candidates {
    pub(super) fn push(&mut self, corners: [f32; 4], score: f32, group: u32) {
        self.boxes.push(corners);
        self.scores.push(score);
        self.groups.push(group);
    }

    /// Adds the best `most` of some rows; of equal ones the first.
    pub(super) fn push_best(&mut self, rows: &[Row], most: usize) {
        let mut order: Vec<&Row> = rows.iter().collect();
        order.sort_by(|a, b| b[4].total_cmp(&a[4]));
        for [x1, y1, x2, y2, score, group] in order.into_iter().take(most) {
            self.push([*x1, *y1, *x2, *y2], *score, *group as u32);
        }
    }
}

/// Above this many candidates, torchvision treats each group by itself; below, it moves the groups apart
/// from one another, which costs some of the coordinates' digits and so decides close cases differently.
const MOVED_APART: usize = 1000;

/// The candidates that stay, as indices, the best first; of equal ones the first. What torchvision's
/// `batched_nms` gives on the CPU.
///
/// A candidate is compared with those that stay only, and nothing is compared once `keep` stay, so that
/// 100,000 candidates take milliseconds.
pub(super) fn suppress(candidates: &Candidates, by: Suppression) -> Vec<usize> {
    let Candidates { boxes, scores, groups } = candidates;
    let mut order: Vec<usize> = (0..boxes.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let apart = (boxes.len() <= MOVED_APART).then(|| {
        let largest = boxes.iter().flatten().fold(f32::NEG_INFINITY, |largest, corner| {
            // As a tensor's maximum: not a number if there is one.
            if largest.is_nan() || *corner > largest || corner.is_nan() { *corner } else { largest }
        });
        largest + 1.0
    });
    let groups_count = groups.iter().max().map_or(0, |group| *group as usize + 1);
    let mut kept_by_group: Vec<Vec<Kept>> = Vec::new();
    kept_by_group.resize_with(groups_count, Vec::new);
    let mut kept = Vec::new();
    for index in order {
        if kept.len() >= by.keep {
            break;
        }
        let group = groups[index];
        let shift = apart.map_or(0.0, |apart| group as f32 * apart);
        let candidate = Kept::new(boxes[index].map(|corner| corner + shift));
        let rivals = &mut kept_by_group[group as usize];
        if !rivals.iter().any(|rival| candidate.overlap(rival) > by.iou) {
            rivals.push(candidate);
            kept.push(index);
        }
    }
    kept
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    corners: [f32; 4],
    area: f32,
}

impl Kept {
    fn new(corners: [f32; 4]) -> Self {
        let [x1, y1, x2, y2] = corners;
        Self { corners, area: (x2 - x1) * (y2 - y1) }
    }

    /// Intersection over union; not a number where neither has an area.
    fn overlap(&self, other: &Self) -> f64 {
        let ([ax1, ay1, ax2, ay2], [bx1, by1, bx2, by2]) = (self.corners, other.corners);
        let width = (ax2.min(bx2) - ax1.max(bx1)).max(0.0);
        let height = (ay2.min(by2) - ay1.max(by1)).max(0.0);
        let shared = width * height;
        f64::from(shared / (other.area + self.area - shared))
    }
}
