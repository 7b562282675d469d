//! Faster R-CNN on a feature pyramid: Ren et al. 2015 (<https://arxiv.org/abs/1506.01497>) as in Lin et al.
//! 2016 (<https://arxiv.org/abs/1612.03144>), section 5.2. The second version has batch norms and deeper heads
//! (Li, Xie, Chen, Dollár, He and Girshick 2021, <https://arxiv.org/abs/2111.11429>).

use tch::{Kind, Tensor, nn};

use super::{
    BACKBONE, DetectorConfig, InputImages, LANDMARKS, Version,
    anchors::Extent,
    coder::{BoxCoder, clipped},
    dense::best_of,
    found::{Detections, indices, rows, to_host},
    fpn::{CHANNELS, Pyramid, PyramidSpec, Top},
    nms::{Candidates, Suppression},
    old_names::upgrade_faster_rcnn_name,
    roi_align::{RoiAlign, SIDE},
    rpn::{Proposals, Rpn, RpnHeads, RpnLevel, propose, together},
    settings::{DetectionSettings, ProposalSettings},
    tower::Tower,
};
use crate::{
    conv::Conv, conv_norm_act::ConvNormAct, init::Init, linear::Linear, norm::NormKind,
    prepared_conv::PreparedConv, target::Target, weights::Layout,
};

/// Length of a box's feature vector, `representation_size` in torchvision.
const DESCRIPTION: i64 = 1024;

/// Number of pyramid levels that RoI align reads: P2 to P5.
const CUT_LEVELS: usize = 4;

/// Maximum number of boxes per call of RoI align. All boxes of a batch at once would take gigabytes.
const CUT_AT_ONCE: i64 = 2048;

/// Weights of the deltas, which scale the regression targets to about 1 in training.
const CODER: BoxCoder = BoxCoder { weights: [10.0, 10.0, 5.0, 5.0] };

/// Minimum width and height of a box, in pixels.
const MIN_SIDE: f32 = 1e-2;

/// torchvision's postprocessing settings.
pub(crate) const POSTPROCESSING: DetectionSettings =
    DetectionSettings { max_detections: 100, ..DetectionSettings::RETINANET };

pub(crate) const LAYOUT: Layout = Layout {
    backbone: BACKBONE,
    class_layers: &["roi_heads.box_predictor.cls_score", "roi_heads.box_predictor.bbox_pred"],
    logits_per_class: 1,
    landmarks: &LANDMARKS,
    upgrade_name: upgrade_faster_rcnn_name,
};

/// Faster R-CNN: a pyramid from P2 up, a region proposal network on all of its levels, and a box head on the
/// RoI-aligned features of the proposals.
#[derive(Debug, Clone)]
pub(crate) struct FasterRcnn<C> {
    backbone: Pyramid<C>,
    rpn: Rpn<C>,
    box_head: BoxHead<C>,
    cls_score: Linear,
    bbox_pred: Linear,
}

/// The layers from a box's RoI-aligned features to its feature vector.
#[derive(Debug, Clone)]
enum BoxHead<C> {
    TwoMlp { fc6: Linear, fc7: Linear },
    ConvFc { conv: Tower<C>, fc: Linear },
}

/// The raw outputs of Faster R-CNN, before postprocessing. `R` is the number of proposals, `K` that of classes.
#[derive(Debug)]
pub struct FasterRcnnOutputs {
    levels: Vec<RpnLevel>,
    proposals: Proposals,
    /// `[R, K]`; class 0 is the background.
    class_logits: Tensor,
    /// `[R, K*4]`
    box_regression: Tensor,
}

/// Outputs of the second stage for its proposals. The losses are computed from them.
#[derive(Debug)]
pub struct RoiHeads<'a> {
    /// `[R, K]`; class 0 is the background.
    pub class_logits: &'a Tensor,
    /// `[R, K*4]`
    pub box_regression: &'a Tensor,
    /// The encoding of `box_regression`.
    pub coder: BoxCoder,
}

/// Selects the proposals on which the second stage is trained.
pub type Pick<'a> = dyn FnMut(Proposals) -> Proposals + 'a;

impl FasterRcnn<ConvNormAct> {
    pub(crate) fn new(path: &nn::Path<'_>, config: DetectorConfig, version: Version) -> Self {
        let (backbone_norm, fpn_norm, rpn_depth) = match version {
            Version::V1 => (config.frozen(), NormKind::None, 1),
            Version::V2 => (NormKind::Batch, NormKind::Batch, 2),
        };
        let pyramid = PyramidSpec { lowest: 2, top: Top::Subsampled, backbone_norm, fpn_norm };
        let heads = path / "roi_heads";
        let predictor = &heads / "box_predictor";
        Self {
            backbone: Pyramid::new(&(path / "backbone"), pyramid),
            rpn: Rpn::new(&(path / "rpn"), rpn_depth),
            box_head: BoxHead::new(&(&heads / "box_head"), version),
            cls_score: Linear::new(&(&predictor / "cls_score"), DESCRIPTION, config.num_classes),
            bbox_pred: Linear::new(&(&predictor / "bbox_pred"), DESCRIPTION, config.num_classes * 4),
        }
    }

    /// Sets the parameters to torchvision's initial values for `seed`.
    pub(super) fn reset_parameters(&self, seed: u64) {
        self.backbone.reset_parameters(seed);
        self.rpn.reset_parameters(seed);
        self.box_head.reset_parameters(seed);
        [&self.cls_score, &self.bbox_pred].into_iter().for_each(|layer| layer.reset_parameters(seed));
    }

    /// Converts every layer for inference on `target`.
    pub(super) fn prepare(self, target: Target) -> FasterRcnn<PreparedConv> {
        FasterRcnn {
            backbone: self.backbone.prepare(target),
            rpn: self.rpn.prepare(target),
            box_head: self.box_head.prepare(target),
            cls_score: self.cls_score.prepare(target),
            bbox_pred: self.bbox_pred.prepare(target),
        }
    }
}

impl<C: Conv> FasterRcnn<C> {
    /// Runs both stages. All outputs except the proposals are differentiable. In training, `pick`
    /// selects the proposals for the second stage.
    pub(super) fn forward(
        &self,
        images: InputImages<'_>,
        settings: &ProposalSettings,
        pick: Option<&mut Pick<'_>>,
    ) -> FasterRcnnOutputs {
        let train = pick.is_some();
        let maps = self.backbone.forward(images.x);
        let levels = self.rpn.forward(&maps, images.x);
        let proposals = propose(&levels, images, settings);
        let proposals = match pick {
            None => proposals,
            Some(pick) => pick(proposals),
        };
        let [class_logits, box_regression] = self.describe(&maps, images.extent, &proposals, train);
        FasterRcnnOutputs { levels, proposals, class_logits, box_regression }
    }

    /// Runs the second stage on the proposals. Returns class logits `[R, K]` and box deltas `[R, K*4]`.
    fn describe(
        &self,
        maps: &[Tensor],
        image_size: Extent,
        proposals: &Proposals,
        train: bool,
    ) -> [Tensor; 2] {
        let maps = &maps[..CUT_LEVELS];
        let kind = maps.first().map_or(Kind::Float, Tensor::kind);
        // The gradients of many boxes add up at one location of a map, so they are computed in fp32.
        let align = match train && kind != Kind::Float {
            true => RoiAlign::new(
                &maps.iter().map(|map| map.to_kind(Kind::Float)).collect::<Vec<_>>(),
                image_size,
            ),
            false => RoiAlign::new(maps, image_size),
        };
        let count = proposals.boxes.size()[0];
        // In training, the statistics of a batch norm cover all boxes.
        let at_once = if train { count.max(1) } else { CUT_AT_ONCE };
        let part = |start: i64| {
            let length = at_once.min(count - start);
            let [boxes, image] = [&proposals.boxes, &proposals.image].map(|all| all.narrow(0, start, length));
            let described = self.box_head.forward(&align.cut(&boxes, &image).to_kind(kind)); // [R, 1024]
            (self.cls_score.forward(&described), self.bbox_pred.forward(&described))
        };
        let (classes, deltas): (Vec<_>, Vec<_>) = (0..count).step_by(at_once as usize).map(part).unzip();
        [(classes, &self.cls_score), (deltas, &self.bbox_pred)]
            .map(|(parts, layer)| if parts.is_empty() { layer.none() } else { Tensor::cat(&parts, 0) })
    }
}

impl BoxHead<ConvNormAct> {
    fn new(path: &nn::Path<'_>, version: Version) -> Self {
        let cut = CHANNELS * SIDE * SIDE;
        match version {
            Version::V1 => Self::TwoMlp {
                fc6: Linear::new(&(path / "fc6"), cut, DESCRIPTION),
                fc7: Linear::new(&(path / "fc7"), DESCRIPTION, DESCRIPTION),
            },
            // 0 to 3 are the convolutions, 4 is torchvision's `Flatten`.
            Version::V2 => Self::ConvFc {
                conv: Tower::nested(path, 4, NormKind::Batch, Init::KaimingNormal),
                fc: Linear::new(&(path / 5), cut, DESCRIPTION),
            },
        }
    }

    fn reset_parameters(&self, seed: u64) {
        match self {
            Self::TwoMlp { fc6, fc7 } => {
                fc6.reset_parameters(seed);
                fc7.reset_parameters(seed);
            }
            Self::ConvFc { conv, fc } => {
                conv.reset_parameters(seed);
                fc.reset_parameters(seed);
            }
        }
    }

    fn prepare(self, target: Target) -> BoxHead<PreparedConv> {
        match self {
            Self::TwoMlp { fc6, fc7 } => {
                BoxHead::TwoMlp { fc6: fc6.prepare(target), fc7: fc7.prepare(target) }
            }
            Self::ConvFc { conv, fc } => {
                BoxHead::ConvFc { conv: conv.prepare(target), fc: fc.prepare(target) }
            }
        }
    }
}

impl<C: Conv> BoxHead<C> {
    /// Maps RoI-aligned features `[R, 256, 7, 7]` to feature vectors `[R, 1024]`.
    fn forward(&self, cut: &Tensor) -> Tensor {
        match self {
            Self::TwoMlp { fc6, fc7 } => {
                let x = fc6.forward(&cut.flatten(1, -1)).relu(); // input [R, 256*7*7]
                fc7.forward(&x).relu()
            }
            Self::ConvFc { conv, fc } => fc.forward(&conv.forward(cut).flatten(1, -1)).relu(),
        }
    }
}

impl FasterRcnnOutputs {
    /// Returns the outputs by torchvision's names: `objectness` `[N*sum(HWA), 1]` and `pred_bbox_deltas`
    /// `[N*sum(HWA), 4]` as returned by `concat_box_prediction_layers`, and `class_logits` `[R, K]` and
    /// `box_regression` `[R, K*4]` of the box predictor. In addition, returns the `proposals` `[R, 4]` to which
    /// the rows of the last two belong, and the image of each proposal, `proposal_image` `[R]`.
    pub(super) fn named(&self) -> Vec<(&'static str, Tensor)> {
        let RpnHeads { objectness, deltas, .. } = self.rpn();
        vec![
            ("objectness", objectness.flatten(0, 1)),
            ("pred_bbox_deltas", deltas.flatten(0, 1)),
            ("class_logits", self.class_logits.shallow_clone()),
            ("box_regression", self.box_regression.shallow_clone()),
            ("proposals", self.proposals.boxes.shallow_clone()),
            ("proposal_image", self.proposals.image.shallow_clone()),
        ]
    }

    /// Returns the outputs of the region proposal network for all anchors.
    pub fn rpn(&self) -> RpnHeads {
        together(&self.levels)
    }

    /// Returns the outputs of the second stage for the proposals.
    pub fn roi(&self) -> RoiHeads<'_> {
        let Self { class_logits, box_regression, .. } = self;
        RoiHeads { class_logits, box_regression, coder: CODER }
    }

    /// Postprocesses the outputs and returns the detections of each image. `image_size` is the height and width of
    /// the images in pixels.
    pub(super) fn read(&self, image_size: Extent, settings: &DetectionSettings) -> Vec<Detections> {
        let scores = self.class_logits.softmax(-1, Kind::Float); // [R, K]
        let classes = scores.size()[1];
        // Ordered by proposal, then by class; the background is left out.
        let above = scores.narrow(1, 1, classes - 1).gt(f64::from(settings.score_threshold)).nonzero(); // [C, 2]
        let (proposal, label) = (above.select(1, 0), above.select(1, 1) + 1);
        let pair: Tensor = &proposal * classes + &label;
        let scores = scores.flatten(0, -1).index_select(0, &pair);
        let deltas = self.box_regression.reshape([-1, 4]).index_select(0, &pair).to_kind(Kind::Float); // [C, 4]
        let boxes = CODER.decode(&deltas, &self.proposals.boxes.index_select(0, &proposal));
        let candidates = to_host(&rows(&clipped(&boxes, image_size), &scores, &label));
        let image = indices(&self.proposals.image.index_select(0, &proposal));
        let mut images: Vec<Candidates> =
            self.proposals.counts.iter().map(|_| Candidates::default()).collect();
        for ([x1, y1, x2, y2, score, label], image) in candidates.into_iter().zip(image) {
            if x2 - x1 >= MIN_SIDE && y2 - y1 >= MIN_SIDE {
                images[image as usize].push([x1, y1, x2, y2], score, label as u32);
            }
        }
        let by = Suppression { iou: settings.nms_iou, keep: settings.max_detections };
        images.iter().map(|candidates| best_of(candidates, by)).collect()
    }
}
