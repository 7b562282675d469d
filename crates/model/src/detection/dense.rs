//! Detectors that say something of every place of every level: RetinaNet and FCOS.

use tch::{Kind, Tensor};

use super::{
    anchors::Extent,
    coder::{BoxCoder, clipped, decode_distances},
    found::{Detections, rows, to_host},
    nms::{Candidates, Suppression, suppress},
    settings::DetectionSettings,
};

/// A dense detector's outputs, not yet read.
#[derive(Debug)]
pub struct DenseOutputs {
    /// The finest first.
    pub(super) levels: Vec<DenseLevel>,
    pub(super) coder: DenseCoder,
}

/// One level of the pyramid; `HWA` is every anchor of every place.
#[derive(Debug)]
pub(super) struct DenseLevel {
    /// `[N, HWA, K]`
    pub(super) cls_logits: Tensor,
    /// `[N, HWA, 4]`
    pub(super) bbox_regression: Tensor,
    /// How central a place is in its object, as a logit, `[N, HWA, 1]`; FCOS has it.
    pub(super) bbox_ctrness: Option<Tensor>,
    /// `[HWA, 4]` in fp32.
    pub(super) anchors: Tensor,
}

/// How a dense detector says where a box is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum DenseCoder {
    Deltas(BoxCoder),
    Distances,
}

impl DenseOutputs {
    /// torchvision's `head(features)`: `cls_logits` `[N, sum(HWA), K]`, `bbox_regression`
    /// `[N, sum(HWA), 4]` and of FCOS `bbox_ctrness` `[N, sum(HWA), 1]`.
    pub(super) fn named(&self) -> Vec<(&'static str, Tensor)> {
        let over_levels = |tensors: Vec<&Tensor>| Tensor::cat(&tensors, 1);
        let mut named = vec![
            ("cls_logits", over_levels(self.levels.iter().map(|level| &level.cls_logits).collect())),
            (
                "bbox_regression",
                over_levels(self.levels.iter().map(|level| &level.bbox_regression).collect()),
            ),
        ];
        let ctrness: Option<Vec<&Tensor>> =
            self.levels.iter().map(|level| level.bbox_ctrness.as_ref()).collect();
        named.extend(ctrness.map(|ctrness| ("bbox_ctrness", over_levels(ctrness))));
        named
    }

    /// What is in pictures of `picture` pixels.
    pub(super) fn read(&self, picture: Extent, settings: &DetectionSettings) -> Vec<Detections> {
        let levels: Vec<Tensor> =
            self.levels.iter().map(|level| self.candidates(level, picture, settings)).collect();
        let candidates = Tensor::cat(&levels, 1); // [N, C, 6]
        let pictures = candidates.size()[0] as usize;
        let rows = to_host(&candidates);
        if rows.is_empty() {
            return vec![Detections::default(); pictures];
        }
        rows.chunks(rows.len() / pictures).map(|rows| one_picture(rows, settings)).collect()
    }

    /// A level's best pairs of an anchor and a class, `[N, C, 6]`, those below the threshold among them: a
    /// size that is known beforehand lets a GPU go on without being waited for.
    fn candidates(&self, level: &DenseLevel, picture: Extent, settings: &DetectionSettings) -> Tensor {
        let DenseLevel { cls_logits, bbox_regression, bbox_ctrness, anchors } = level;
        let (n, places, classes) = match cls_logits.size()[..] {
            [n, places, classes] => (n, places, classes),
            _ => (0, 0, 0),
        };
        let most = i64::try_from(settings.candidates_per_level).unwrap_or(i64::MAX);
        // The best pairs are on the anchors with the best classes, of which there are far fewer.
        let best = cls_logits.amax([-1], false).to_kind(Kind::Float); // [N, HWA]
        let ctrness = bbox_ctrness.as_ref().map(|ctrness| ctrness.squeeze_dim(-1).to_kind(Kind::Float));
        let best = match &ctrness {
            None => best,
            Some(ctrness) => best.sigmoid() * ctrness.sigmoid(),
        };
        // What is not a number would come first.
        let best = best.nan_to_num(f64::NEG_INFINITY, None, None);
        let (_, on) = best.topk(most.min(places), -1, true, true); // [N, P]
        let anchors_count = on.size()[1];
        let at = |tensor: &Tensor| {
            let k = tensor.size()[2];
            let index = on.unsqueeze(-1).expand([n, anchors_count, k], false);
            tensor.gather(1, &index, false).to_kind(Kind::Float) // [N, P, K]
        };
        let scores = at(cls_logits).sigmoid();
        let scores = match bbox_ctrness {
            None => scores,
            Some(ctrness) => (scores * at(ctrness).sigmoid()).sqrt(),
        };
        let scores = scores.nan_to_num(-1.0, None, None).flatten(1, -1); // [N, P*K]
        let (scores, pairs) = scores.topk(most.min(anchors_count * classes), -1, true, true); // [N, C]
        let (chosen, labels) =
            (pairs.divide_scalar_mode(classes.max(1), "floor"), pairs.remainder(classes.max(1)));
        let chosen = on.gather(1, &chosen, false); // [N, C], of HWA
        let corner_index = chosen.unsqueeze(-1).expand([n, chosen.size()[1], 4], false);
        let regression = bbox_regression.gather(1, &corner_index, false).to_kind(Kind::Float);
        let anchors = anchors.index_select(0, &chosen.flatten(0, -1)).view_as(&regression); // [N, C, 4]
        let boxes = match self.coder {
            DenseCoder::Deltas(coder) => coder.decode(&regression, &anchors),
            DenseCoder::Distances => decode_distances(&regression, &anchors),
        };
        rows(&clipped(&boxes, picture), &scores, &labels)
    }
}

fn one_picture(rows: &[[f32; 6]], settings: &DetectionSettings) -> Detections {
    let mut candidates = Candidates::default();
    for [x1, y1, x2, y2, score, label] in rows {
        if *score > settings.score_threshold {
            candidates.push([*x1, *y1, *x2, *y2], *score, *label as u32);
        }
    }
    best_of(&candidates, Suppression { iou: settings.nms_iou, keep: settings.max_detections })
}

/// The candidates that stay; their groups are their classes.
pub(super) fn best_of(candidates: &Candidates, by: Suppression) -> Detections {
    let kept = suppress(candidates, by);
    Detections {
        boxes: kept.iter().map(|i| candidates.boxes[*i]).collect(),
        scores: kept.iter().map(|i| candidates.scores[*i]).collect(),
        labels: kept.iter().map(|i| candidates.groups[*i]).collect(),
    }
}
