//! FCOS's losses: Tian et al. 2019 (<https://arxiv.org/abs/1904.01355>), equation 2, with the center sampling and
//! the GIoU of Tian et al. 2020 (<https://arxiv.org/abs/2006.09214>), as in torchvision.

use lookout_model::{DenseHeads, decode_distances, encode_distances};
use tch::{Kind, Reduction, Tensor};

use super::{
    ObjectTensors,
    boxes::{areas, corners, giou_loss},
    focal,
    matching::{BACKGROUND, IGNORED, positives},
};

/// Center sampling radius: a location is positive for an object only if its horizontal and vertical distances from the
/// object's center are below this, in strides of its level.
const RADIUS: f64 = 1.5;

/// Range of a level's regression distances, in strides: the largest distance from a location to the sides of its object
/// must lie between these. The finest level has no lower bound and the coarsest no upper one.
const DISTANCE_RANGE: [f64; 2] = [4.0, 8.0];

/// Greater than the area of any object. `LARGEST - area` is highest for the smallest object, which wins where objects
/// overlap.
const LARGEST: f64 = 1e8;

/// Returns the losses, each divided by the number of positive locations in all images.
pub(super) fn losses(heads: &DenseHeads, objects: &[ObjectTensors]) -> Vec<(&'static str, Tensor)> {
    let locations = heads.anchors.size()[0];
    let grid = Locations::new(heads);
    let mut not_ignored = Vec::with_capacity(objects.len());
    let mut matches = Vec::with_capacity(objects.len());
    for (image, objects) in (0..).zip(objects) {
        let matched = grid.match_to(objects);
        let location = positives(&matched); // [P]
        let (boxes, labels) = objects.of(&matched.index_select(0, &location));
        not_ignored.push(matched.ne(IGNORED).to_kind(Kind::Float));
        matches.push([location.shallow_clone(), location + image * locations, boxes, labels]);
    }
    let all = |i: usize| Tensor::cat(&matches.iter().map(|part| &part[i]).collect::<Vec<_>>(), 0);
    let [location, row, boxes, label] = [0, 1, 2, 3].map(all); // [P]
    let count = row.size()[0].max(1) as f64;
    let logits = heads.cls_logits.to_kind(Kind::Float); // [N, A, K]
    let classes = logits.size()[2];
    let negative = focal::of_negatives(&logits).sum_dim_intlist([-1].as_slice(), false, Kind::Float)
        * Tensor::stack(&not_ignored, 0);
    let positive =
        focal::of_positives_minus_negatives(&logits.reshape([-1]).index_select(0, &(&row * classes + label)));
    let anchors = heads.anchors.index_select(0, &location);
    let at_rows = |predicted: &Tensor| {
        predicted.reshape([-1, predicted.size()[2]]).index_select(0, &row).to_kind(Kind::Float)
    };
    let predicted = decode_distances(&at_rows(&heads.bbox_regression), &anchors);
    let mut parts = vec![
        ("classification", (negative.sum(Kind::Float) + positive.sum(Kind::Float)) / count),
        ("bbox_regression", giou_loss(&predicted, &boxes).sum(Kind::Float) / count),
    ];
    if let Some(predicted) = &heads.bbox_ctrness {
        let truth = centerness(&encode_distances(&boxes, &anchors));
        let predicted = at_rows(predicted).squeeze_dim(-1);
        let off = predicted.binary_cross_entropy_with_logits::<Tensor>(&truth, None, None, Reduction::Sum);
        parts.push(("bbox_ctrness", off / count));
    }
    parts
}

/// Returns the centerness for `distances` `[P, 4]`: `[P]` (equation 3 of the paper).
fn centerness(distances: &Tensor) -> Tensor {
    let [left, top, right, bottom] = corners(distances);
    let even = |a: &Tensor, b: &Tensor| a.minimum(b) / a.maximum(b);
    (even(&left, &right) * even(&top, &bottom)).sqrt()
}

/// The locations of all levels (in the code: `Locations`), `[A, 1]` each.
struct Locations {
    x: Tensor,
    y: Tensor,
    stride: Tensor,
    min_distance: Tensor,
    max_distance: Tensor,
}

impl Locations {
    fn new(heads: &DenseHeads) -> Self {
        let [x1, y1, x2, y2] = corners(&heads.anchors).map(|column| column.unsqueeze(-1));
        let stride = &x2 - &x1;
        let [min_distance, max_distance] = DISTANCE_RANGE.map(|reach| &stride * reach);
        let first = heads.per_level.first().copied().unwrap_or(0);
        let last = heads.per_level.last().copied().unwrap_or(0);
        let _ = min_distance.narrow(0, 0, first).fill_(0.0);
        let _ = max_distance.narrow(0, max_distance.size()[0] - last, last).fill_(f64::INFINITY);
        Self { x: (x1 + x2) / 2.0, y: (y1 + y2) / 2.0, stride, min_distance, max_distance }
    }

    /// Returns the index of each location's object, [`BACKGROUND`] or [`IGNORED`]: `[A]`.
    fn match_to(&self, objects: &ObjectTensors) -> Tensor {
        let matched = if objects.is_empty() {
            Tensor::full([self.x.size()[0]], BACKGROUND, (Kind::Int64, self.x.device()))
        } else {
            self.matched(&objects.boxes)
        };
        if objects.ignored.numel() == 0 {
            return matched;
        }
        let [x1, y1, x2, y2] = corners(&objects.ignored); // [I]
        let inside = self.inside([&x1, &y1, &x2, &y2]).amin([2], false).gt(0.0).any_dim(1, false); // [A]
        matched.masked_fill(&inside.logical_and(&matched.lt(0)), IGNORED)
    }

    fn matched(&self, boxes: &Tensor) -> Tensor {
        let [x1, y1, x2, y2] = corners(boxes); // [M]
        let off = |location: &Tensor, low: &Tensor, high: &Tensor| (location - (low + high) / 2.0).abs();
        let off = off(&self.x, &x1, &x2).maximum(&off(&self.y, &y1, &y2)); // [A, M]
        let near = off.lt_tensor(&(&self.stride * RADIUS));
        let sides = self.inside([&x1, &y1, &x2, &y2]); // [A, M, 4]
        let furthest = sides.amax([2], false);
        let fits = near
            .logical_and(&sides.amin([2], false).gt(0.0))
            .logical_and(&furthest.gt_tensor(&self.min_distance))
            .logical_and(&furthest.lt_tensor(&self.max_distance));
        let left: Tensor = LARGEST - areas(boxes);
        let (most_left, smallest) = (fits.to_kind(Kind::Float) * left).max_dim(1, false); // [A]
        smallest.masked_fill(&most_left.lt(1e-5), BACKGROUND)
    }

    /// Returns the distances from the locations to the sides of the boxes, `[A, M, 4]`. All are positive inside a box.
    fn inside(&self, [x1, y1, x2, y2]: [&Tensor; 4]) -> Tensor {
        Tensor::stack(&[&self.x - x1, &self.y - y1, x2 - &self.x, y2 - &self.y], 2)
    }
}
