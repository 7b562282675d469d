//! RetinaNet's losses: Lin et al. 2017 (<https://arxiv.org/abs/1708.02002>), section 4.1.

use lookout_model::{BoxCoder, DenseHeads};
use tch::{Kind, Tensor};

use super::{
    ObjectTensors,
    boxes::giou_loss,
    focal,
    matching::{IGNORED, Matcher, positives},
};

const MATCHER: Matcher = Matcher { high: 0.5, low: 0.4, every_object: true };

/// The regression loss of boxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BoxLoss {
    /// L1 loss of the encoded box deltas, used by the first version.
    L1,
    /// GIoU loss of the decoded boxes, used by `_v2`.
    Giou,
}

/// Returns the losses: for each image, the sum divided by its number of positive anchors, then the mean over the
/// images.
pub(super) fn losses(
    heads: &DenseHeads,
    objects: &[ObjectTensors],
    box_loss: BoxLoss,
) -> Vec<(&'static str, Tensor)> {
    let (images, anchors) = (heads.cls_logits.size()[0], heads.anchors.size()[0]);
    let device = heads.anchors.device();
    let mut not_ignored = Vec::with_capacity(objects.len());
    let mut matches = Vec::with_capacity(objects.len());
    for (image, objects) in (0..).zip(objects) {
        let matched = MATCHER.match_to(objects, &heads.anchors);
        let anchor = positives(&matched); // [P]
        let (boxes, labels) = objects.of(&matched.index_select(0, &anchor));
        let share = 1.0 / (anchor.size()[0].max(1) * images) as f64;
        not_ignored.push(matched.ne(IGNORED).to_kind(Kind::Float) * share);
        let share = Tensor::full(anchor.size(), share, (Kind::Float, device));
        matches.push([anchor.shallow_clone(), anchor + image * anchors, boxes, labels, share]);
    }
    let all = |i: usize| Tensor::cat(&matches.iter().map(|part| &part[i]).collect::<Vec<_>>(), 0);
    let [anchor, row, boxes, label, share] = [0, 1, 2, 3, 4].map(all); // [P]
    let logits = heads.cls_logits.to_kind(Kind::Float); // [N, A, K]
    let classes = logits.size()[2];
    let negative = focal::of_negatives(&logits).sum_dim_intlist([-1].as_slice(), false, Kind::Float)
        * Tensor::stack(&not_ignored, 0);
    let positive =
        focal::of_positives_minus_negatives(&logits.reshape([-1]).index_select(0, &(&row * classes + label)));
    let classification = negative.sum(Kind::Float) + (positive * &share).sum(Kind::Float);
    let predicted = heads.bbox_regression.reshape([-1, 4]).index_select(0, &row).to_kind(Kind::Float); // [P, 4]
    let anchors = heads.anchors.index_select(0, &anchor);
    let off = match box_loss {
        BoxLoss::L1 => {
            let off = predicted - BoxCoder::ANCHORS.encode(&boxes, &anchors);
            off.abs().sum_dim_intlist([-1].as_slice(), false, Kind::Float)
        }
        BoxLoss::Giou => giou_loss(&BoxCoder::ANCHORS.decode(&predicted, &anchors), &boxes),
    }; // [P]
    vec![("classification", classification), ("bbox_regression", (off * share).sum(Kind::Float))]
}
