//! RoI align: He, Gkioxari, Dollár and Girshick, Mask R-CNN, 2017 (<https://arxiv.org/abs/1703.06870>), section
//! 3, on the pyramid level that fits the size of a box (the FPN's paper, equation 1).
//!
//! Each element of the output is a weighted sum of sixteen elements of the map: two by two samples, each
//! interpolated between four locations. libtorch has a differentiable kernel for weighted sums of table rows on
//! every device, `embedding_bag`; the maps of all levels form one table here.

use tch::{Kind, Tensor};

use super::{anchors::Extent, coder::corners};

/// Height and width of the output.
pub(super) const SIDE: i64 = 7;

/// Number of samples per bin on each axis.
const SAMPLES: i64 = 2;

/// Side of a box that belongs to [`CANONICAL_LEVEL`], in pixels.
const CANONICAL_SIDE: f64 = 224.0;
const CANONICAL_LEVEL: f64 = 4.0;

/// Keeps a box of exactly [`CANONICAL_SIDE`] on [`CANONICAL_LEVEL`], in spite of rounding.
const LEVEL_EPS: f64 = 1e-6;

/// The feature maps of all levels, prepared for RoI align.
#[derive(Debug)]
pub(super) struct RoiAlign {
    /// `[sum(N*H*W), C]`
    table: Tensor,
    /// `height, width, first row, scale` of each level, `[levels, 4]` in fp64, because row numbers are too
    /// large for fp32.
    levels: Tensor,
    /// Numbers of the first and the last level: 2 for P2.
    numbers: [f64; 2],
}

impl RoiAlign {
    /// Prepares `maps` `[N, C, H, W]`, the finest first, of images of `image_size` pixels.
    pub(super) fn new(maps: &[Tensor], image_size: Extent) -> Self {
        let mut first_row = 0;
        let mut levels: Vec<f64> = Vec::with_capacity(maps.len() * 4);
        let mut numbers = Vec::with_capacity(maps.len());
        for map in maps {
            let [height, width] = super::extent(map);
            // A level's scale is a power of two, even if the size of its map was rounded.
            let number = (height as f64 / image_size[0] as f64).log2().round();
            levels.extend([height as f64, width as f64, first_row as f64, number.exp2()]);
            numbers.push(-number);
            first_row += map.size()[0] * height * width;
        }
        let channels = maps.first().map_or(0, |map| map.size()[1]);
        let row = |map: &Tensor| map.permute([0, 2, 3, 1]).reshape([-1, channels]); // [N*H*W, C]
        let table = Tensor::cat(&maps.iter().map(row).collect::<Vec<_>>(), 0);
        let levels = Tensor::from_slice(&levels).view([-1, 4]).to_device(table.device());
        let numbers = [numbers.first(), numbers.last()].map(|number| number.copied().unwrap_or(0.0));
        Self { table, levels, numbers }
    }

    /// Extracts the features of `boxes` `[R, 4]`, in pixels and fp32, from the images with the indices `image`
    /// `[R]`. Returns `[R, C, 7, 7]` in the dtype of the maps.
    pub(super) fn cut(&self, boxes: &Tensor, image: &Tensor) -> Tensor {
        let rois = boxes.size()[0];
        // A NaN in a box would lead to reads outside of the maps.
        let boxes = boxes.nan_to_num(0.0, None, None);
        let level = self.levels.index_select(0, &self.level_of(&boxes)); // [R, 4]
        let [height, width, first_row, scale] = corners(&level);
        let scale = scale.to_kind(Kind::Float);
        let [x1, y1, x2, y2] = corners(&boxes).map(|corner| corner * &scale);
        let [height, width, first_row] = [height, width, first_row].map(|n| n.to_kind(Kind::Int64));
        let (y, y_weight) = between(&y1, &y2, &height); // [R, 7, 4]
        let (x, x_weight) = between(&x1, &x2, &width);
        let per_roi = |tensor: &Tensor| tensor.view([-1, 1, 1, 1, 1]);
        // Dimensions: box, vertical bins, horizontal bins, vertical locations, horizontal locations.
        let down = |tensor: &Tensor| tensor.view([rois, SIDE, 1, 2 * SAMPLES, 1]);
        let across = |tensor: &Tensor| tensor.view([rois, 1, SIDE, 1, 2 * SAMPLES]);
        let first = per_roi(&(first_row + image * &height * &width));
        let rows = first + down(&(y * width.view([-1, 1, 1]))) + across(&x); // [R, 7, 7, 4, 4]
        let weights = down(&y_weight) * across(&(x_weight / (SAMPLES * SAMPLES) as f64));
        let each = 4 * SAMPLES * SAMPLES;
        let starts =
            Tensor::arange_start_step(0, rois * SIDE * SIDE * each, each, (Kind::Int64, boxes.device()));
        let weights = weights.flatten(0, -1).to_kind(self.table.kind());
        let (cut, ..) = Tensor::embedding_bag(
            &self.table,
            &rows.flatten(0, -1),
            &starts,
            false,
            0,
            false,
            Some(&weights),
            false,
        ); // [R*49, C]
        cut.view([rois, SIDE, SIDE, -1]).permute([0, 3, 1, 2])
    }

    /// Returns the index of the level that each box belongs to, `[R]`.
    fn level_of(&self, boxes: &Tensor) -> Tensor {
        let [x1, y1, x2, y2] = corners(boxes);
        let side = ((x2 - x1) * (y2 - y1)).sqrt();
        let [first, last] = self.numbers;
        let number = ((side / CANONICAL_SIDE).log2() + CANONICAL_LEVEL + LEVEL_EPS).floor();
        (number.nan_to_num(first, None, None).clamp(first, last) - first).to_kind(Kind::Int64)
    }
}

/// Returns the locations between which the samples of one axis lie and their interpolation weights, both
/// `[R, 7, 4]`, for boxes from `low` to `high` `[R]` on maps of `size` `[R]` locations.
fn between(low: &Tensor, high: &Tensor, size: &Tensor) -> (Tensor, Tensor) {
    let device = low.device();
    // A box is at least one location wide.
    let bin = (high - low).clamp_min(1.0) / SIDE as f64;
    let bins = Tensor::arange(SIDE, (Kind::Float, device)).view([1, -1, 1]);
    let samples = (Tensor::arange(SAMPLES, (Kind::Float, device)) + 0.5).view([1, 1, -1]);
    let per_roi = |tensor: &Tensor| tensor.view([-1, 1, 1]);
    let (bin, size) = (per_roi(&bin), per_roi(size));
    let at = per_roi(low) + bins * &bin + samples * bin / SAMPLES as f64; // [R, 7, 2]
    // Samples up to one location outside of the map take the value at its border; samples farther out are 0.
    let there = at.ge(-1.0).logical_and(&at.le_tensor(&size)).to_kind(Kind::Float);
    let last: Tensor = &size - 1;
    let at = at.clamp_min(0.0).minimum(&last.to_kind(Kind::Float));
    let below = at.floor();
    let part = at - &below;
    let below = below.to_kind(Kind::Int64);
    let above = (&below + 1).minimum(&last);
    let places = Tensor::cat(&[below, above], -1); // [R, 7, 4]
    let weights = Tensor::cat(&[(1.0 - &part) * &there, part * there], -1);
    (places, weights)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::Path};

    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn roi_align_matches_torchvision() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/detectors.safetensors");
        let goldens: BTreeMap<String, Tensor> = Tensor::read_safetensors(file).unwrap().into_iter().collect();
        let maps = [0, 1, 2, 3].map(|i| goldens[&format!("roi/map{i}")].shallow_clone());
        let align = RoiAlign::new(&maps, [128, 160]);
        let image = Tensor::arange(60, (Kind::Int64, Device::Cpu)).divide_scalar_mode(30, "floor");
        let cut = align.cut(&goldens["roi/boxes"], &image);
        let golden = &goldens["roi/cut"];
        assert_eq!(cut.size(), golden.size());
        let apart = (cut - golden).abs().max().double_value(&[]);
        assert!(apart < 1e-5, "{apart}");
    }

    #[test]
    fn non_finite_boxes_do_not_panic() {
        let map = Tensor::ones([1, 2, 8, 8], (Kind::Float, Device::Cpu));
        let align = RoiAlign::new(&[map], [32, 32]);
        let boxes = Tensor::from_slice(&[f32::NAN, 0.0, f32::INFINITY, 5.0]).view([1, 4]);
        let cut = align.cut(&boxes, &Tensor::zeros([1], (Kind::Int64, Device::Cpu)));
        assert_eq!(cut.size(), [1, 2, SIDE, SIDE]);
    }
}
