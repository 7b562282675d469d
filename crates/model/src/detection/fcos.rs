//! FCOS: Tian, Shen, Chen and He, FCOS: Fully Convolutional One-Stage Object Detection, 2019
//! (<https://arxiv.org/abs/1904.01355>), section 3, with the center-ness beside the regression (Tian et al.
//! 2020, <https://arxiv.org/abs/2006.09214>).

use tch::{Tensor, nn};

use super::{
    BACKBONE, DetectionSettings, DetectorConfig, LANDMARKS,
    anchors::Anchors,
    dense::{DenseCoder, DenseLevel, DenseOutputs},
    fpn::{Pyramid, PyramidSpec, Top},
    old_names::upgrade_fpn_name,
    tower::{PRIOR_LOGIT, Tower, flattened, last},
};
use crate::{
    conv::Conv, conv_norm_act::ConvNormAct, norm::NormKind, prepared_conv::PreparedConv, target::Target,
    weights::Layout,
};

/// Side of the square anchor at each location, which is the level's stride.
const SCALES: [[f32; 1]; 5] = [[8.0], [16.0], [32.0], [64.0], [128.0]];

const TOWER_DEPTH: usize = 4;

/// The encoding of the boxes.
pub(super) const CODER: DenseCoder = DenseCoder::Distances;

/// torchvision's postprocessing settings.
pub(crate) const POSTPROCESSING: DetectionSettings = DetectionSettings {
    score_threshold: 0.2,
    nms_iou: 0.6,
    max_detections: 100,
    ..DetectionSettings::RETINANET
};

pub(crate) const LAYOUT: Layout = Layout {
    backbone: BACKBONE,
    class_layers: &["head.classification_head.cls_logits"],
    logits_per_class: 1,
    landmarks: &LANDMARKS,
    upgrade_name: upgrade_fpn_name,
};

/// FCOS: a pyramid from P3 up, and two towers that all levels share.
#[derive(Debug, Clone)]
pub(crate) struct Fcos<C> {
    backbone: Pyramid<C>,
    classes: i64,
    classification: Tower<C>,
    cls_logits: C,
    regression: Tower<C>,
    bbox_reg: C,
    bbox_ctrness: C,
    places: Anchors,
}

impl Fcos<ConvNormAct> {
    pub(crate) fn new(path: &nn::Path<'_>, config: DetectorConfig) -> Self {
        let pyramid = PyramidSpec {
            lowest: 3,
            top: Top::P6P7OnP5,
            backbone_norm: config.frozen(),
            fpn_norm: NormKind::None,
        };
        let classification = path / "head" / "classification_head";
        let regression = path / "head" / "regression_head";
        Self {
            backbone: Pyramid::new(&(path / "backbone"), pyramid),
            classes: config.num_classes,
            classification: Tower::flat(&(&classification / "conv"), TOWER_DEPTH),
            cls_logits: last(&(&classification / "cls_logits"), config.num_classes, PRIOR_LOGIT),
            regression: Tower::flat(&(&regression / "conv"), TOWER_DEPTH),
            bbox_reg: last(&(&regression / "bbox_reg"), 4, 0.0),
            bbox_ctrness: last(&(&regression / "bbox_ctrness"), 1, 0.0),
            places: Anchors::new(SCALES.iter().map(<[f32; 1]>::as_slice), &[1.0]),
        }
    }

    /// Sets the parameters to torchvision's initial values for `seed`.
    pub(super) fn reset_parameters(&self, seed: u64) {
        self.backbone.reset_parameters(seed);
        [&self.classification, &self.regression].into_iter().for_each(|tower| tower.reset_parameters(seed));
        [&self.cls_logits, &self.bbox_reg, &self.bbox_ctrness]
            .into_iter()
            .for_each(|layer| layer.reset_parameters(seed));
    }

    /// Converts every layer for inference on `target`.
    pub(super) fn prepare(self, target: Target) -> Fcos<PreparedConv> {
        Fcos {
            backbone: self.backbone.prepare(target),
            classes: self.classes,
            classification: self.classification.prepare(target),
            cls_logits: self.cls_logits.prepare(target),
            regression: self.regression.prepare(target),
            bbox_reg: self.bbox_reg.prepare(target),
            bbox_ctrness: self.bbox_ctrness.prepare(target),
            places: self.places,
        }
    }
}

impl<C: Conv> Fcos<C> {
    /// Runs the network on `x` `[N, 3, H, W]`, normalized. The outputs are differentiable.
    pub(super) fn forward(&self, x: &Tensor) -> DenseOutputs {
        let maps = self.backbone.forward(x);
        let places = self.places.grid(
            super::extent(x),
            &maps.iter().map(super::extent).collect::<Vec<_>>(),
            x.device(),
        );
        let level = |(map, anchors): (&Tensor, Tensor)| {
            let classification = self.classification.forward(map);
            let regression = self.regression.forward(map);
            DenseLevel {
                cls_logits: flattened(&self.cls_logits.forward(&classification), self.classes),
                bbox_regression: flattened(&self.bbox_reg.forward(&regression).relu(), 4),
                bbox_ctrness: Some(flattened(&self.bbox_ctrness.forward(&regression), 1)),
                anchors,
            }
        };
        DenseOutputs { levels: maps.iter().zip(places).map(level).collect(), coder: CODER }
    }
}
