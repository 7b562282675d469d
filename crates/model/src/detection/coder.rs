//! Conversion between a detector's box regression outputs and boxes.

use tch::Tensor;

use super::anchors::Extent;

/// Upper bound of `dw` and `dh`, `bbox_xform_clip` in torchvision: `ln(1000 / 16)`, so that the exponential
/// does not overflow.
const MAX_GROWTH: f64 = 4.135_166_556_742_356;

/// Encodes boxes as deltas relative to anchors (Girshick, Donahue, Darrell and Malik 2013, appendix C):
/// `dx, dy` in units of the anchor's sides, and `dw, dh` as logarithms of the ratios of the sides, each times its
/// weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoxCoder {
    pub(super) weights: [f64; 4],
}

impl BoxCoder {
    /// The coder for deltas relative to anchors, with all weights 1.
    pub const ANCHORS: Self = Self { weights: [1.0; 4] };

    /// Decodes `deltas` `[.., 4]` relative to `anchors` `[.., 4]` into boxes `[.., 4]`, all in fp32.
    pub fn decode(self, deltas: &Tensor, anchors: &Tensor) -> Tensor {
        let [x1, y1, x2, y2] = corners(anchors);
        let [dx, dy, dw, dh] = corners(deltas);
        let [wx, wy, ww, wh] = self.weights;
        let axis = |low: &Tensor, high: &Tensor, move_by: Tensor, grow_by: Tensor| {
            let side = high - low;
            let center: Tensor = low + 0.5 * &side;
            let center = move_by * &side + center;
            let half: Tensor = 0.5 * (grow_by.clamp_max(MAX_GROWTH).exp() * side);
            (&center - &half, center + half)
        };
        let (left, right) = axis(&x1, &x2, dx / wx, dw / ww);
        let (top, bottom) = axis(&y1, &y2, dy / wy, dh / wh);
        Tensor::stack(&[left, top, right, bottom], -1)
    }

    /// Returns the deltas `[.., 4]` that [`BoxCoder::decode`] turns into `boxes` `[.., 4]`, relative to
    /// `anchors` `[.., 4]`.
    pub fn encode(self, boxes: &Tensor, anchors: &Tensor) -> Tensor {
        let [x1, y1, x2, y2] = corners(anchors);
        let [left, top, right, bottom] = corners(boxes);
        let [wx, wy, ww, wh] = self.weights;
        let axis = |[low, high]: [&Tensor; 2], [from, to]: [&Tensor; 2], [move_by, grow_by]: [f64; 2]| {
            let (side, wanted) = (high - low, to - from);
            let center: Tensor = low + 0.5 * &side;
            let wanted_center: Tensor = from + 0.5 * &wanted;
            (move_by * (wanted_center - center) / &side, grow_by * (wanted / side).log())
        };
        let (dx, dw) = axis([&x1, &x2], [&left, &right], [wx, ww]);
        let (dy, dh) = axis([&y1, &y2], [&top, &bottom], [wy, wh]);
        Tensor::stack(&[dx, dy, dw, dh], -1)
    }
}

/// Decodes distances `[.., 4]` from the centers of `anchors` `[.., 4]` to the left, top, right and bottom sides
/// into boxes `[.., 4]`. Distances are in units of the anchor's sides (Tian, Shen, Chen and He 2019, equation
/// 1, normalized as in torchvision).
pub fn decode_distances(distances: &Tensor, anchors: &Tensor) -> Tensor {
    let [x1, y1, x2, y2] = corners(anchors);
    let [left, top, right, bottom] = corners(distances);
    let (width, height) = (&x2 - &x1, &y2 - &y1);
    let x: Tensor = 0.5 * (x1 + x2);
    let y: Tensor = 0.5 * (y1 + y2);
    let sides = [&x - left * &width, &y - top * &height, &x + right * &width, &y + bottom * &height];
    Tensor::stack(&sides, -1)
}

/// Returns the distances `[.., 4]` from the centers of `anchors` `[.., 4]` to the sides of `boxes` `[.., 4]`.
/// They are negative where a center is outside of its box.
pub fn encode_distances(boxes: &Tensor, anchors: &Tensor) -> Tensor {
    let [x1, y1, x2, y2] = corners(anchors);
    let [left, top, right, bottom] = corners(boxes);
    let (width, height) = (&x2 - &x1, &y2 - &y1);
    let x: Tensor = 0.5 * (x1 + x2);
    let y: Tensor = 0.5 * (y1 + y2);
    let sides = [(&x - left) / &width, (&y - top) / &height, (right - x) / width, (bottom - y) / height];
    Tensor::stack(&sides, -1)
}

/// Clips boxes `[.., 4]` to the image of the given height and width.
pub(super) fn clipped(boxes: &Tensor, [height, width]: Extent) -> Tensor {
    let [x1, y1, x2, y2] = corners(boxes);
    let [x1, x2] = [x1, x2].map(|x| x.clamp(0.0, width as f64));
    let [y1, y2] = [y1, y2].map(|y| y.clamp(0.0, height as f64));
    Tensor::stack(&[x1, y1, x2, y2], -1)
}

/// Returns the four columns of `[.., 4]`.
pub(super) fn corners(boxes: &Tensor) -> [Tensor; 4] {
    [0, 1, 2, 3].map(|i| boxes.select(-1, i))
}
