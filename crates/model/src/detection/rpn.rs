//! The region proposal network: Ren, He, Girshick and Sun, Faster R-CNN: Towards Real-Time Object Detection
//! with Region Proposal Networks, 2015 (<https://arxiv.org/abs/1506.01497>), section 3.1.

use tch::{Kind, Tensor, nn};

use super::{
    InputImages,
    anchors::Anchors,
    coder::{BoxCoder, clipped},
    found::{rows, to_host},
    fpn::CHANNELS,
    nms::{Candidates, Suppression, suppress},
    settings::ProposalSettings,
    tower::{HEAD_INIT, Tower, flattened},
};
use crate::{
    conv::{Conv, ConvShape, LayerSpec},
    conv_norm_act::ConvNormAct,
    norm::NormKind,
    prepared_conv::PreparedConv,
    target::Target,
};

/// Side of the anchors on each level, in pixels.
const SCALES: [[f32; 1]; 5] = [[32.0], [64.0], [128.0], [256.0], [512.0]];

/// Ratios of the anchors' heights to their widths.
const RATIOS: [f32; 3] = [0.5, 1.0, 2.0];

/// Minimum width and height of a proposal, in pixels.
const MIN_SIDE: f32 = 1e-3;

/// The region proposal network: a small head that all pyramid levels share, with its anchors.
#[derive(Debug, Clone)]
pub(super) struct Rpn<C> {
    conv: Tower<C>,
    cls_logits: C,
    bbox_pred: C,
    anchors: Anchors,
}

/// Outputs of the head on one level.
#[derive(Debug)]
pub(super) struct RpnLevel {
    /// `[N, HWA, 1]`
    objectness: Tensor,
    /// `[N, HWA, 4]`
    deltas: Tensor,
    /// `[HWA, 4]`
    anchors: Tensor,
}

/// Outputs of the head for the `A` anchors of all levels, the finest level first. The losses are computed from
/// them.
#[derive(Debug)]
pub struct RpnHeads {
    /// `[N, A, 1]`
    pub objectness: Tensor,
    /// `[N, A, 4]`
    pub deltas: Tensor,
    /// `[A, 4]` in fp32.
    pub anchors: Tensor,
    /// The encoding of `deltas`.
    pub coder: BoxCoder,
}

/// Proposals: `R` regions of all images that may contain an object, ordered by image.
#[derive(Debug)]
pub struct Proposals {
    /// `[R, 4]` in fp32, in pixels.
    pub boxes: Tensor,
    /// The index of each proposal's image, `[R]`.
    pub image: Tensor,
    /// Number of proposals per image.
    pub counts: Vec<usize>,
}

impl Rpn<ConvNormAct> {
    /// Creates a head of `depth` convolutions.
    pub(super) fn new(path: &nn::Path<'_>, depth: usize) -> Self {
        let path = path / "head";
        let anchors = Anchors::new(SCALES.iter().map(<[f32; 1]>::as_slice), &RATIOS);
        let output = |name: &str, each: i64| {
            let spec = LayerSpec::plain(ConvShape::same(CHANNELS, anchors.per_place() * each, 1, 1));
            ConvNormAct::without_norm(&(&path / name), LayerSpec { weight_init: HEAD_INIT, ..spec })
        };
        Self {
            conv: Tower::nested(&(&path / "conv"), depth, NormKind::None, HEAD_INIT),
            cls_logits: output("cls_logits", 1),
            bbox_pred: output("bbox_pred", 4),
            anchors,
        }
    }

    /// Sets the parameters to torchvision's initial values for `seed`.
    pub(super) fn reset_parameters(&self, seed: u64) {
        self.conv.reset_parameters(seed);
        [&self.cls_logits, &self.bbox_pred].into_iter().for_each(|layer| layer.reset_parameters(seed));
    }

    /// Converts every layer for inference on `target`.
    pub(super) fn prepare(self, target: Target) -> Rpn<PreparedConv> {
        Rpn {
            conv: self.conv.prepare(target),
            cls_logits: self.cls_logits.prepare(target),
            bbox_pred: self.bbox_pred.prepare(target),
            anchors: self.anchors,
        }
    }
}

impl<C: Conv> Rpn<C> {
    /// Runs the head on the feature maps `maps` `[N, 256, h, w]` of the input `x`, the finest first. The
    /// outputs are differentiable.
    pub(super) fn forward(&self, maps: &[Tensor], x: &Tensor) -> Vec<RpnLevel> {
        let anchors = self.anchors.grid(
            super::extent(x),
            &maps.iter().map(super::extent).collect::<Vec<_>>(),
            x.device(),
        );
        let level = |(map, anchors): (&Tensor, Tensor)| {
            let map = self.conv.forward(map);
            RpnLevel {
                objectness: flattened(&self.cls_logits.forward(&map), 1),
                deltas: flattened(&self.bbox_pred.forward(&map), 4),
                anchors,
            }
        };
        maps.iter().zip(anchors).map(level).collect()
    }
}

/// Concatenates the outputs of all levels.
pub(super) fn together(levels: &[RpnLevel]) -> RpnHeads {
    let over_levels =
        |part: fn(&RpnLevel) -> &Tensor, dim| Tensor::cat(&levels.iter().map(part).collect::<Vec<_>>(), dim);
    RpnHeads {
        objectness: over_levels(|level| &level.objectness, 1),
        deltas: over_levels(|level| &level.deltas, 1),
        anchors: over_levels(|level| &level.anchors, 0),
        coder: BoxCoder::ANCHORS,
    }
}

/// Returns the proposals with the highest scores after NMS. They are detached from the graph, as in the paper.
pub(super) fn propose(
    levels: &[RpnLevel],
    images: InputImages<'_>,
    settings: &ProposalSettings,
) -> Proposals {
    let most = i64::try_from(settings.candidates_per_level).unwrap_or(i64::MAX);
    let candidates = levels.iter().enumerate().map(|(number, level)| {
        let objectness = level.objectness.detach().squeeze_dim(-1).to_kind(Kind::Float); // [N, HWA]
        let (objectness, on) = objectness.topk(most.min(objectness.size()[1]), 1, true, true); // [N, C]
        let index = on.unsqueeze(-1).expand([on.size()[0], on.size()[1], 4], false);
        let deltas = level.deltas.detach().gather(1, &index, false).to_kind(Kind::Float);
        let anchors = level.anchors.index_select(0, &on.flatten(0, -1)).view_as(&deltas); // [N, C, 4]
        let boxes = clipped(&BoxCoder::ANCHORS.decode(&deltas, &anchors), images.extent);
        rows(&boxes, &objectness.sigmoid(), &objectness.full_like(number as f64)) // [N, C, 6]
    });
    let candidates = Tensor::cat(&candidates.collect::<Vec<_>>(), 1);
    let count = images.x.size()[0] as usize;
    let rows = to_host(&candidates);
    let (mut boxes, mut image, mut counts) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..count {
        let each = rows.len() / count;
        let kept = one_image(&rows[number * each..][..each], settings);
        counts.push(kept.len());
        image.extend(std::iter::repeat_n(number as i64, kept.len()));
        boxes.extend(kept.into_iter().flatten());
    }
    let there = images.x.device();
    Proposals {
        boxes: Tensor::from_slice(&boxes).view([-1, 4]).to_device(there),
        image: Tensor::from_slice(&image).to_device(there),
        counts,
    }
}

fn one_image(rows: &[[f32; 6]], settings: &ProposalSettings) -> Vec<[f32; 4]> {
    let mut candidates = Candidates::default();
    for [x1, y1, x2, y2, score, level] in rows {
        let large = x2 - x1 >= MIN_SIDE && y2 - y1 >= MIN_SIDE;
        if large && *score >= settings.score_threshold {
            candidates.push([*x1, *y1, *x2, *y2], *score, *level as u32);
        }
    }
    let by = Suppression { iou: settings.nms_iou, keep: settings.max_proposals };
    suppress(&candidates, by).into_iter().map(|i| candidates.boxes[i]).collect()
}
