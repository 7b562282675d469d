//! Faster R-CNN's losses: Ren et al. 2015 (<https://arxiv.org/abs/1506.01497>), section 3.1.2, and Girshick 2015
//! (<https://arxiv.org/abs/1504.08083>), section 2.3, with torchvision's parameters.

use lookout_model::{Proposals, RoiHeads, RpnHeads};
use tch::{Kind, Reduction, Tensor};

use super::{
    ObjectTensors, SubsetSampler,
    matching::{BACKGROUND, Matcher},
};

/// How many anchors or proposals of an image are sampled for the loss, and how many of them may be positive.
#[derive(Debug, Clone, Copy)]
struct SampleLimits {
    max: usize,
    max_positives: usize,
}

const ANCHORS: Matcher = Matcher { high: 0.7, low: 0.3, every_object: true };
const SAMPLED_ANCHORS: SampleLimits = SampleLimits { max: 256, max_positives: 128 };
const PROPOSALS: Matcher = Matcher { high: 0.5, low: 0.5, every_object: false };
const SAMPLED_PROPOSALS: SampleLimits = SampleLimits { max: 512, max_positives: 128 };

/// The error at which the smooth L1 loss changes from quadratic to linear.
const BETA: f64 = 1.0 / 9.0;

/// Indices of the sampled rows in `[A]`, in ascending order.
struct Sampled {
    positives: Tensor,
    negatives: Tensor,
}

impl SampleLimits {
    /// Samples rows of `matched` `[A]`. Negatives fill the slots that positives leave free.
    fn sample(self, matched: &Tensor, sampler: &mut dyn SubsetSampler) -> Sampled {
        let mut some = |rows: &Tensor, max: usize| {
            let rows = rows.nonzero().squeeze_dim(-1);
            let chosen = sampler.sample(max, rows.numel());
            rows.index_select(0, &Tensor::from_slice(&chosen).to_device(rows.device())).sort(0, false).0
        };
        let positives = some(&matched.ge(0), self.max_positives);
        let negatives = some(&matched.eq(BACKGROUND), self.max - positives.numel().min(self.max));
        Sampled { positives, negatives }
    }
}

/// Returns the losses of the region proposal network at the sampled anchors: `loss_objectness` and `loss_rpn_box_reg`.
pub(super) fn rpn_losses(
    heads: &RpnHeads,
    objects: &[ObjectTensors],
    sampler: &mut dyn SubsetSampler,
) -> [(&'static str, Tensor); 2] {
    let anchors = heads.anchors.size()[0];
    let (mut positives, mut negatives) = (Vec::new(), Vec::new());
    let (mut boxes, mut matched_anchors) = (Vec::new(), Vec::new());
    for (image, objects) in (0..).zip(objects) {
        let matched = ANCHORS.match_to(objects, &heads.anchors);
        let sampled = SAMPLED_ANCHORS.sample(&matched, sampler);
        boxes.push(objects.of(&matched.index_select(0, &sampled.positives)).0);
        matched_anchors.push(heads.anchors.index_select(0, &sampled.positives));
        positives.push(sampled.positives + image * anchors);
        negatives.push(sampled.negatives + image * anchors);
    }
    let [positives, negatives, boxes, matched_anchors] =
        [positives, negatives, boxes, matched_anchors].map(|parts| Tensor::cat(&parts, 0));
    let objectness = heads.objectness.reshape([-1]).to_kind(Kind::Float); // [N*A]
    let deltas = heads.deltas.reshape([-1, 4]);
    let sampled = Tensor::cat(&[&positives, &negatives], 0);
    let truth = Tensor::cat(&[positives.ones_like(), negatives.zeros_like()], 0).to_kind(Kind::Float);
    let predicted = objectness.index_select(0, &sampled);
    let object = predicted.binary_cross_entropy_with_logits::<Tensor>(&truth, None, None, Reduction::Sum);
    let predicted = deltas.index_select(0, &positives).to_kind(Kind::Float); // [P, 4]
    let off = predicted.smooth_l1_loss(&heads.coder.encode(&boxes, &matched_anchors), Reduction::Sum, BETA);
    let count = sampled.numel().max(1) as f64;
    [("loss_objectness", object / count), ("loss_rpn_box_reg", off / count)]
}

/// Targets of the second stage (RoI heads) for the `R` sampled proposals.
#[derive(Debug)]
pub(super) struct RoiTargets {
    /// `[R, 4]`
    proposals: Tensor,
    /// Class of each proposal, `[R]`, 0 for the background.
    labels: Tensor,
    /// Rows of the proposals that match objects, `[P]`, and the boxes of those objects `[P, 4]`.
    positives: Tensor,
    boxes: Tensor,
}

impl RoiTargets {
    /// Samples proposals and their targets. The ground-truth boxes are added to the proposals, so that there are
    /// positives at the start of training.
    pub(super) fn sample(
        proposals: &Proposals,
        objects: &[ObjectTensors],
        sampler: &mut dyn SubsetSampler,
    ) -> (Proposals, Self) {
        let device = proposals.boxes.device();
        let (mut picked, mut image, mut labels, mut positives, mut boxes) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut counts = Vec::with_capacity(objects.len());
        let (mut from, mut row) = (0, 0);
        for ((number, objects), count) in (0_i64..).zip(objects).zip(&proposals.counts) {
            let own = proposals.boxes.narrow(0, from, *count as i64);
            from += *count as i64;
            let all = Tensor::cat(&[&own, &objects.boxes], 0);
            let matched = PROPOSALS.match_to(objects, &all);
            let sampled = SAMPLED_PROPOSALS.sample(&matched, sampler);
            let rows = Tensor::cat(&[&sampled.positives, &sampled.negatives], 0).sort(0, false).0; // [R]
            let matched = matched.index_select(0, &rows);
            let found = super::matching::positives(&matched); // [P]
            let (found_boxes, found_labels) = objects.of(&matched.index_select(0, &found));
            let background = Tensor::zeros([rows.size()[0]], (Kind::Int64, device));
            labels.push(background.index_copy(0, &found, &found_labels));
            boxes.push(found_boxes);
            positives.push(found + row);
            picked.push(all.index_select(0, &rows));
            image.push(rows.full_like(number));
            counts.push(rows.numel());
            row += rows.size()[0];
        }
        let [picked, image, labels, positives, boxes] =
            [picked, image, labels, positives, boxes].map(|parts| Tensor::cat(&parts, 0));
        let targets = Self { proposals: picked.shallow_clone(), labels, positives, boxes };
        (Proposals { boxes: picked, image, counts }, targets)
    }

    /// Returns the losses of the second stage: `loss_classifier` and `loss_box_reg`.
    pub(super) fn losses(&self, heads: &RoiHeads<'_>) -> [(&'static str, Tensor); 2] {
        let logits = heads.class_logits.to_kind(Kind::Float); // [R, K]
        let classes = logits.size()[1];
        let class = logits.cross_entropy_loss::<Tensor>(&self.labels, None, Reduction::Mean, -100, 0.0);
        // The head predicts one box per class.
        let row = &self.positives * classes + self.labels.index_select(0, &self.positives);
        let predicted = heads.box_regression.reshape([-1, 4]).index_select(0, &row).to_kind(Kind::Float); // [P, 4]
        let there = self.proposals.index_select(0, &self.positives);
        let off = predicted.smooth_l1_loss(&heads.coder.encode(&self.boxes, &there), Reduction::Sum, BETA);
        [("loss_classifier", class), ("loss_box_reg", off / self.labels.numel().max(1) as f64)]
    }
}
