//! Non-maximum suppression (NMS) on the host: of overlapping boxes, only the one with the highest score
//! remains.
//!
//! libtorch has no kernel for NMS. Built from its operators, NMS would compute a matrix of all pairs, which for
//! 5,000 candidates is some 25 million numbers per image, several times over, and would still need a loop over
//! them. Here, a candidate is compared only with the few boxes that remain, which takes less than a
//! millisecond.

use super::found::Row;

/// Parameters of NMS.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Suppression {
    /// A box is removed if its IoU with a better one is above this threshold.
    pub(super) iou: f64,
    /// Maximum number of boxes that are kept.
    pub(super) keep: usize,
}

/// The input of NMS: boxes with their scores and groups.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// `x1, y1, x2, y2`
    pub(super) boxes: Vec<[f32; 4]>,
    pub(super) scores: Vec<f32>,
    /// The class or pyramid level of each box. Boxes of different groups do not suppress each other.
    pub(super) groups: Vec<u32>,
}

impl Candidates {
    pub(super) fn push(&mut self, corners: [f32; 4], score: f32, group: u32) {
        self.boxes.push(corners);
        self.scores.push(score);
        self.groups.push(group);
    }

    /// Adds the `most` rows with the highest scores; ties keep their order.
    pub(super) fn push_best(&mut self, rows: &[Row], most: usize) {
        let mut order: Vec<&Row> = rows.iter().collect();
        order.sort_by(|a, b| b[4].total_cmp(&a[4]));
        for [x1, y1, x2, y2, score, group] in order.into_iter().take(most) {
            self.push([*x1, *y1, *x2, *y2], *score, *group as u32);
        }
    }
}

/// Number of candidates above which torchvision runs NMS for each group separately. Up to this number it shifts
/// the coordinates of each group by an offset, which costs precision and therefore decides close cases
/// differently.
const MOVED_APART: usize = 1000;

/// Returns the indices of the boxes that remain after NMS, the highest score first; ties keep their order.
///
/// The result equals that of torchvision's `batched_nms` on the CPU, except that torchvision returns ties in
/// any order above [`MOVED_APART`] candidates.
///
/// A candidate is compared only with the boxes that remain, and the loop stops once `keep` remain, so 100,000
/// candidates take milliseconds.
pub(super) fn suppress(candidates: &Candidates, by: Suppression) -> Vec<usize> {
    let Candidates { boxes, scores, groups } = candidates;
    let mut order: Vec<usize> = (0..boxes.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let apart = (boxes.len() <= MOVED_APART).then(|| {
        let largest = boxes.iter().flatten().fold(f32::NEG_INFINITY, |largest, corner| {
            // As the maximum of a tensor: NaN if any number is NaN.
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

    /// Returns the intersection over union, or NaN if neither box has an area.
    fn overlap(&self, other: &Self) -> f64 {
        let ([ax1, ay1, ax2, ay2], [bx1, by1, bx2, by2]) = (self.corners, other.corners);
        let width = (ax2.min(bx2) - ax1.max(bx1)).max(0.0);
        let height = (ay2.min(by2) - ay1.max(by1)).max(0.0);
        let shared = width * height;
        f64::from(shared / (other.area + self.area - shared))
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Instant};

    use tch::{Kind, Tensor};

    use super::*;

    fn golden(case: &str) -> (Candidates, Vec<i64>) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/detectors.safetensors");
        let tensors = Tensor::read_safetensors(file).unwrap();
        let find = |part: &str| {
            let name = format!("nms/{case}/{part}");
            tensors.iter().find(|(found, _)| *found == name).unwrap().1.shallow_clone()
        };
        let numbers =
            |part: &str| Vec::<f32>::try_from(&find(part).to_kind(Kind::Float).flatten(0, -1)).unwrap();
        let boxes = numbers("boxes");
        let candidates = Candidates {
            boxes: boxes.as_chunks().0.to_vec(),
            scores: numbers("scores"),
            groups: numbers("groups").into_iter().map(|group| group as u32).collect(),
        };
        (candidates, Vec::try_from(&find("kept")).unwrap())
    }

    #[test]
    fn nms_matches_torchvision() {
        // Covers both of torchvision's methods, with boxes of one pixel, boxes without an area, and equal
        // scores.
        for case in ["few", "many"] {
            let (candidates, golden) = golden(case);
            let all = suppress(&candidates, Suppression { iou: 0.5, keep: usize::MAX });
            let mut same = all.iter().map(|i| *i as i64).collect::<Vec<_>>();
            let mut golden = golden;
            if case == "many" {
                // Above `MOVED_APART` candidates, torchvision's last sort returns equal scores in any order.
                same.sort_unstable();
                golden.sort_unstable();
            }
            assert!(same == golden, "{case}");
            let first = suppress(&candidates, Suppression { iou: 0.5, keep: 10 });
            assert_eq!(first, all[..10], "{case}");
        }
    }

    #[test]
    fn nms_of_100_000_candidates_is_fast() {
        let mut candidates = Candidates::default();
        for i in 0..100_000_u32 {
            let [x, y] = [(i % 400) as f32, (i / 400) as f32];
            candidates.push([x, y, x + 300.0, y + 200.0], (i % 1000) as f32 / 1000.0, 1);
        }
        let started = Instant::now();
        let kept = suppress(&candidates, Suppression { iou: 0.5, keep: 300 });
        assert!(!kept.is_empty() && kept.len() <= 300);
        assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    }

    #[test]
    fn nan_corners_do_not_panic() {
        let mut candidates = Candidates::default();
        candidates.push([f32::NAN; 4], f32::NAN, 0);
        candidates.push([0.0, 0.0, f32::INFINITY, 1.0], f32::INFINITY, 2);
        candidates.push([0.0, 0.0, 1.0, 1.0], 0.5, 0);
        assert_eq!(suppress(&candidates, Suppression { iou: 0.5, keep: 10 }).len(), 3);
        assert!(suppress(&Candidates::default(), Suppression { iou: 0.5, keep: 10 }).is_empty());
    }
}
