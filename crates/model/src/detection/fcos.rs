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
    tower::{Tower, flattened, last},
};
use crate::{layer::ConvNormAct, norm::NormKind, target::Target, weights::Layout};

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
pub(crate) struct Fcos {
    backbone: Pyramid,
    classes: i64,
    classification: Tower,
    cls_logits: ConvNormAct,
    regression: Tower,
    bbox_reg: ConvNormAct,
    bbox_ctrness: ConvNormAct,
    places: Anchors,
}

impl Fcos {
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
            cls_logits: last(&(&classification / "cls_logits"), config.num_classes),
            regression: Tower::flat(&(&regression / "conv"), TOWER_DEPTH),
            bbox_reg: last(&(&regression / "bbox_reg"), 4),
            bbox_ctrness: last(&(&regression / "bbox_ctrness"), 1),
            places: Anchors::new(SCALES.iter().map(<[f32; 1]>::as_slice), &[1.0]),
        }
    }

    /// Runs the network on `x` `[N, 3, H, W]`, normalized. The outputs are differentiable.
    pub(super) fn forward(&self, x: &Tensor, train: bool) -> DenseOutputs {
        let maps = self.backbone.forward(x, train);
        let places = self.places.grid(
            super::extent(x),
            &maps.iter().map(super::extent).collect::<Vec<_>>(),
            x.device(),
        );
        let level = |(map, anchors): (&Tensor, Tensor)| {
            let classification = self.classification.forward(map, train);
            let regression = self.regression.forward(map, train);
            DenseLevel {
                cls_logits: flattened(&self.cls_logits.forward(&classification, train), self.classes),
                bbox_regression: flattened(&self.bbox_reg.forward(&regression, train).relu(), 4),
                bbox_ctrness: Some(flattened(&self.bbox_ctrness.forward(&regression, train), 1)),
                anchors,
            }
        };
        DenseOutputs { levels: maps.iter().zip(places).map(level).collect(), coder: CODER }
    }

    /// Prepares every layer for inference on `target`. This cannot be undone.
    pub(super) fn prepare(&mut self, target: Target) {
        self.backbone.prepare(target);
        self.classification.prepare(target);
        self.regression.prepare(target);
        for layer in [&mut self.cls_logits, &mut self.bbox_reg, &mut self.bbox_ctrness] {
            layer.prepare(target);
        }
    }
}
