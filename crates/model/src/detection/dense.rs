//! Dense detectors, which predict for every location of every pyramid level: RetinaNet and FCOS.

use lookout_fused::{
    FusedError,
    cuda::{LevelOutputs, LevelReading},
};
use tch::{Device, Kind, Tensor};

use super::{
    anchors::Extent,
    coder::{BoxCoder, clipped, decode_distances},
    found::{Detections, indices, rows, to_host},
    nms::{Candidates, Suppression, suppress},
    settings::DetectionSettings,
};

/// The raw outputs of a dense detector, before postprocessing.
#[derive(Debug)]
pub struct DenseOutputs {
    /// The pyramid levels, the finest first.
    pub(super) levels: Vec<DenseLevel>,
    pub(super) coder: DenseCoder,
}

/// Outputs on one pyramid level. `HWA` counts the anchors of all locations, `K` the classes.
#[derive(Debug)]
pub(super) struct DenseLevel {
    /// `[N, HWA, K]`
    pub(super) cls_logits: Tensor,
    /// `[N, HWA, 4]`
    pub(super) bbox_regression: Tensor,
    /// Center-ness of each location as a logit, `[N, HWA, 1]`; FCOS only.
    pub(super) bbox_ctrness: Option<Tensor>,
    /// `[HWA, 4]` in fp32.
    pub(super) anchors: Tensor,
}

/// Outputs of a dense detector for the `A` anchors of all levels, the finest level first. The losses are
/// computed from them.
#[derive(Debug)]
pub struct DenseHeads {
    /// `[N, A, K]`
    pub cls_logits: Tensor,
    /// `[N, A, 4]`
    pub bbox_regression: Tensor,
    /// `[N, A, 1]`; FCOS only.
    pub bbox_ctrness: Option<Tensor>,
    /// `[A, 4]` in fp32.
    pub anchors: Tensor,
    /// Number of anchors on each level.
    pub per_level: Vec<i64>,
}

/// The encoding of a dense detector's boxes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum DenseCoder {
    Deltas(BoxCoder),
    Distances,
}

impl DenseOutputs {
    /// Returns the outputs of torchvision's `head(features)`: `cls_logits` `[N, sum(HWA), K]`,
    /// `bbox_regression` `[N, sum(HWA), 4]` and, for FCOS, `bbox_ctrness` `[N, sum(HWA), 1]`.
    pub(super) fn named(&self) -> Vec<(&'static str, Tensor)> {
        let DenseHeads { cls_logits, bbox_regression, bbox_ctrness, .. } = self.heads();
        let mut named = vec![("cls_logits", cls_logits), ("bbox_regression", bbox_regression)];
        named.extend(bbox_ctrness.map(|ctrness| ("bbox_ctrness", ctrness)));
        named
    }

    /// Concatenates the outputs of all levels.
    pub fn heads(&self) -> DenseHeads {
        let over_levels = |part: fn(&DenseLevel) -> &Tensor| {
            Tensor::cat(&self.levels.iter().map(part).collect::<Vec<_>>(), 1)
        };
        let ctrness: Option<Vec<&Tensor>> =
            self.levels.iter().map(|level| level.bbox_ctrness.as_ref()).collect();
        let anchors: Vec<&Tensor> = self.levels.iter().map(|level| &level.anchors).collect();
        DenseHeads {
            cls_logits: over_levels(|level| &level.cls_logits),
            bbox_regression: over_levels(|level| &level.bbox_regression),
            bbox_ctrness: ctrness.map(|ctrness| Tensor::cat(&ctrness, 1)),
            anchors: Tensor::cat(&anchors, 0),
            per_level: anchors.iter().map(|level| level.size()[0]).collect(),
        }
    }

    fn classes(&self) -> i64 {
        self.levels.first().map_or(0, |level| level.cls_logits.size()[2])
    }

    /// Postprocesses on the GPU, as [`super::DetectorOutputs::read_on_device`].
    pub(super) fn read_on_device(&self, reading: &LevelReading) -> Result<(Tensor, Vec<Tensor>), FusedError> {
        // A layer may pad its output channels; its output is then a non-contiguous view of a larger tensor.
        let level = |level: &DenseLevel| {
            let centers = level.bbox_ctrness.as_ref().map(Tensor::contiguous);
            (level.cls_logits.contiguous(), level.bbox_regression.contiguous(), centers)
        };
        let levels: Vec<_> = self.levels.iter().map(level).collect();
        let outputs = levels.iter().zip(&self.levels).map(|((logits, boxes, centers), level)| LevelOutputs {
            logits,
            boxes,
            centers: centers.as_ref(),
            anchors: &level.anchors,
        });
        let found = reading.apply(&outputs.collect::<Vec<_>>())?;
        Ok((found, self.levels.iter().map(|level| level.anchors.shallow_clone()).collect()))
    }

    /// Postprocesses the outputs and returns the detections of each image. `image_size` is the height and width of
    /// the images in pixels.
    pub(super) fn read(&self, image_size: Extent, settings: &DetectionSettings) -> Vec<Detections> {
        let most = settings.candidates_per_level;
        let levels: Vec<Shortlist> = self.levels.iter().map(|level| level.shortlist(settings)).collect();
        let slots: Vec<i64> = levels.iter().map(|level| level.least.size()[1]).collect();
        let n = levels.first().map_or(0, |level| level.least.size()[0]);
        let total: i64 = slots.iter().sum();
        let all = |part: fn(&Shortlist) -> &Tensor| {
            let levels: Vec<&Tensor> = levels.iter().map(part).collect();
            Tensor::cat(&levels, 1).flatten(0, 1) // [N*S, ..]
        };
        // Usually only few anchors have any class above the threshold.
        let threshold = f64::from(settings.score_threshold);
        let worth = all(|level| &level.best).gt(threshold * (1.0 - ROUNDING)).nonzero().squeeze_dim(-1); // [M]
        let of = |index: &Tensor, tensor: Tensor| tensor.index_select(0, index).to_kind(Kind::Float);
        let scores = of(&worth, all(|level| &level.cls_logits)).sigmoid(); // [M, K]
        let central: Option<Vec<&Tensor>> = levels.iter().map(|level| level.central.as_ref()).collect();
        let scores = match central {
            None => scores,
            Some(central) => (scores * of(&worth, Tensor::cat(&central, 1).flatten(0, 1))).sqrt(),
        };
        let least = of(&worth, all(|level| &level.least)).unsqueeze(-1); // [M, 1]
        let pairs = scores.gt(threshold).logical_and(&scores.ge_tensor(&least)).nonzero(); // [P, 2]
        let (row, label) = (pairs.select(1, 0), pairs.select(1, 1));
        let slot = worth.index_select(0, &row); // [P]
        let regression = of(&slot, all(|level| &level.regression)); // [P, 4]
        let boxes = self.coder.decode(&regression, &of(&slot, all(|level| &level.anchors)));
        let scores = scores.flatten(0, 1).index_select(0, &(row * self.classes() + &label)); // [P]
        let rows = to_host(&rows(&clipped(&boxes, image_size), &scores, &label));
        let slot = indices(&slot);
        let mut images = Vec::with_capacity(n as usize);
        let mut from = 0;
        for image in 0..n {
            let mut candidates = Candidates::default();
            let mut end = image * total;
            // The pairs are in the order of their slots: by image, then by level.
            for slots in &slots {
                end += slots;
                let to = from + slot[from..].partition_point(|slot| *slot < end);
                candidates.push_best(&rows[from..to], most);
                from = to;
            }
            let by = Suppression { iou: settings.nms_iou, keep: settings.max_detections };
            images.push(best_of(&candidates, by));
        }
        images
    }
}

/// The `P` anchors per image with the highest class scores on one level.
#[derive(Debug)]
struct Shortlist {
    /// The score of each anchor's best class, `[N, P]`.
    best: Tensor,
    /// Minimum score for a pair of an anchor and a class to be among the level's best, `[N, P]`.
    least: Tensor,
    /// `[N, P, K]`
    cls_logits: Tensor,
    /// Center-ness, 0 to 1, `[N, P, 1]`; FCOS only.
    central: Option<Tensor>,
    /// `[N, P, 4]`
    regression: Tensor,
    /// `[N, P, 4]`
    anchors: Tensor,
}

/// Relative tolerance for scores that were computed in two ways and may differ in the last digit.
const ROUNDING: f64 = 1e-6;

impl DenseLevel {
    /// Preselects anchors. The best `most` pairs of an anchor and a class all lie on the `most` anchors with
    /// the highest class scores, so the other anchors need no further processing.
    fn shortlist(&self, settings: &DetectionSettings) -> Shortlist {
        let Self { cls_logits, bbox_regression, bbox_ctrness, anchors } = self;
        let [n, places] = [cls_logits.size()[0], cls_logits.size()[1]];
        let most = i64::try_from(settings.candidates_per_level).unwrap_or(i64::MAX);
        // With center-ness, the score is `sqrt(class * center-ness)`, and center-ness is at most 1. A class
        // score below the squared threshold therefore never passes.
        let threshold = settings.score_threshold;
        let least_of_class = if bbox_ctrness.is_some() { threshold * threshold } else { threshold };
        let central = bbox_ctrness.as_ref().map(|logits| logits.to_kind(Kind::Float).sigmoid()); // [N, HWA, 1]
        let best = row_max(cls_logits, least_of_class >= 0.5).sigmoid(); // [N, HWA]
        let best = match &central {
            None => best,
            Some(central) => (best * central.squeeze_dim(-1)).sqrt(),
        };
        // `topk` would rank NaN first.
        let best = best.nan_to_num(-1.0, None, None);
        let (best, on) = best.topk(most.min(places), -1, true, true); // [N, P]
        let rows = &on + Tensor::arange(n, (Kind::Int64, on.device())).unsqueeze(-1) * places;
        let rows = rows.flatten(0, 1);
        let shape = |k| [n, on.size()[1], k];
        let at = |tensor: &Tensor| {
            let k = tensor.size()[2];
            tensor.reshape([n * places, k]).index_select(0, &rows).view(shape(k)) // [N, P, k]
        };
        let least = match on.size()[1] {
            // Each of the `most` listed anchors has a pair that scores at least as high as the best pair of the
            // last one. Pairs with a lower score are not among the best `most`.
            listed if listed == most && most > 0 => best.narrow(1, most - 1, 1) * (1.0 - ROUNDING),
            _ => Tensor::full([n, 1], -1.0, (Kind::Float, best.device())),
        };
        Shortlist {
            least: least.expand_as(&best),
            best,
            cls_logits: at(cls_logits),
            central: central.as_ref().map(at),
            regression: at(bbox_regression),
            anchors: anchors.index_select(0, &on.flatten(0, -1)).view(shape(4)),
        }
    }
}

impl DenseCoder {
    /// Decodes `regression` `[P, 4]` on `anchors` `[P, 4]` into boxes `[P, 4]`.
    fn decode(self, regression: &Tensor, anchors: &Tensor) -> Tensor {
        match self {
            Self::Deltas(coder) => coder.decode(regression, anchors),
            Self::Distances => decode_distances(regression, anchors),
        }
    }
}

/// Returns the maximum of each row of `[N, HWA, K]` as `[N, HWA]` in fp32. With `only_positive_matter`, the
/// result for a row without a positive number may be any of its numbers.
fn row_max(x: &Tensor, only_positive_matter: bool) -> Tensor {
    if x.kind() != Kind::BFloat16 || x.device() != Device::Cpu {
        return x.amax([-1], false).to_kind(Kind::Float);
    }
    // On a CPU, libtorch computes the maximum of bf16 one number at a time; the maximum of integers is several
    // times as fast. The bit patterns of positive numbers sort like integers, and those of negative numbers in
    // reverse order. This maximum takes most of the postprocessing time of a batch, so the second pass is
    // skipped where possible.
    let bits = x.view_dtype(Kind::Int16);
    let most = bits.amax([-1], false);
    let most =
        if only_positive_matter { most } else { most.where_self(&most.ge(0), &bits.amin([-1], false)) };
    most.view_dtype(Kind::BFloat16).to_kind(Kind::Float)
}

/// Runs NMS on candidates whose groups are their classes, and returns the remaining ones.
pub(super) fn best_of(candidates: &Candidates, by: Suppression) -> Detections {
    let kept = suppress(candidates, by);
    Detections {
        boxes: kept.iter().map(|i| candidates.boxes[*i]).collect(),
        scores: kept.iter().map(|i| candidates.scores[*i]).collect(),
        labels: kept.iter().map(|i| candidates.groups[*i]).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_max_equals_amax() {
        tch::manual_seed(1);
        let x = (Tensor::randn([2, 50, 3], (Kind::Float, Device::Cpu)) - 0.5).to_kind(Kind::BFloat16);
        let plain = x.to_kind(Kind::Float).amax([-1], false);
        assert_eq!(row_max(&x, false), plain);
        assert_eq!(row_max(&x, true).clamp_min(0.0), plain.clamp_min(0.0));
        assert!(row_max(&x, true).le_tensor(&plain).all().int64_value(&[]) == 1);
    }
}
