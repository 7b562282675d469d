//! Geometry of boxes: areas, IoU and GIoU.

use tch::{Kind, Tensor};

/// Avoids a division by zero for a box without an area, as in torchvision.
const EPS: f64 = 1e-7;

/// The areas of boxes `a` `[M, 4]` and `b` `[A, 4]`, and their intersections: `[M]`, `[A]` and `[M, A]`.
struct Areas {
    a: Tensor,
    b: Tensor,
    shared: Tensor,
}

impl Areas {
    fn new(a: &Tensor, b: &Tensor) -> Self {
        let shared_side = |low: i64, high: i64| {
            let column = |boxes: &Tensor, i: i64| boxes.select(1, i);
            let to = column(a, high).unsqueeze(1).minimum(&column(b, high)); // [M, A]
            let from = column(a, low).unsqueeze(1).maximum(&column(b, low));
            (to - from).clamp_min(0.0)
        };
        Self { a: areas(a), b: areas(b), shared: shared_side(0, 2) * shared_side(1, 3) }
    }
}

/// Returns the areas of boxes: `[.., 4]` to `[..]`.
pub(super) fn areas(boxes: &Tensor) -> Tensor {
    let [x1, y1, x2, y2] = corners(boxes);
    (x2 - x1) * (y2 - y1)
}

/// Returns the IoU of each of `a` `[M, 4]` with each of `b` `[A, 4]`: `[M, A]`.
pub(super) fn box_iou(a: &Tensor, b: &Tensor) -> Tensor {
    let Areas { a, b, shared } = Areas::new(a, b);
    let union = a.unsqueeze(1) + b - &shared;
    shared / union
}

/// Returns which of `boxes` `[A, 4]` have at least half of their area inside one of `ignored` `[I, 4]`: `[A]` of bool.
pub(super) fn mostly_in(ignored: &Tensor, boxes: &Tensor) -> Tensor {
    if ignored.numel() == 0 {
        return Tensor::zeros([boxes.size()[0]], (Kind::Bool, boxes.device()));
    }
    let Areas { b, shared, .. } = Areas::new(ignored, boxes);
    (shared / b).amax([0], false).ge(0.5)
}

/// Returns the generalized IoU loss of pairs of boxes: `[P, 4]` and `[P, 4]` to `[P]` (Rezatofighi et al. 2019,
/// <https://arxiv.org/abs/1902.09630>, algorithm 1).
pub(super) fn giou_loss(boxes: &Tensor, truth: &Tensor) -> Tensor {
    let [x1, y1, x2, y2] = corners(boxes);
    let [gx1, gy1, gx2, gy2] = corners(truth);
    let shared = (x2.minimum(&gx2) - x1.maximum(&gx1)).clamp_min(0.0)
        * (y2.minimum(&gy2) - y1.maximum(&gy1)).clamp_min(0.0);
    let around = (x2.maximum(&gx2) - x1.minimum(&gx1)) * (y2.maximum(&gy2) - y1.minimum(&gy1));
    let union = areas(boxes) + areas(truth) - &shared;
    let iou = shared / (&union + EPS);
    1.0 - (iou - (&around - union) / (&around + EPS))
}

/// Returns the four columns of `[.., 4]`.
pub(super) fn corners(boxes: &Tensor) -> [Tensor; 4] {
    [0, 1, 2, 3].map(|i| boxes.select(-1, i))
}
