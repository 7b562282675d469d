//! RetinaNet: Lin, Goyal, Girshick, He and Dollár, Focal Loss for Dense Object Detection, 2017
//! (<https://arxiv.org/abs/1708.02002>), section 4. The second version has the changes of Zhang, Chi, Yao, Lei
//! and Li, 2019 (<https://arxiv.org/abs/1912.02424>): group norms in the heads, and P6 computed from C5.

use tch::{Tensor, nn};

use super::{
    BACKBONE, DetectionSettings, DetectorConfig, LANDMARKS, Version,
    anchors::Anchors,
    coder::BoxCoder,
    dense::{DenseCoder, DenseLevel, DenseOutputs},
    fpn::{Pyramid, PyramidSpec, Top},
    old_names::{upgrade_fpn_name, upgrade_retinanet_name},
    tower::{HEAD_INIT, PRIOR_LOGIT, Tower, flattened, last},
};
use crate::{
    conv::Conv, conv_norm_act::ConvNormAct, norm::NormKind, prepared_conv::PreparedConv, target::Target,
    weights::Layout,
};

/// Sides of the anchors in pixels for each level: three per octave, rounded down to integers as in torchvision.
const SCALES: [[f32; 3]; 5] = [
    [32.0, 40.0, 50.0],
    [64.0, 80.0, 101.0],
    [128.0, 161.0, 203.0],
    [256.0, 322.0, 406.0],
    [512.0, 645.0, 812.0],
];

/// Ratios of the anchors' heights to their widths.
const RATIOS: [f32; 3] = [0.5, 1.0, 2.0];

const TOWER_DEPTH: usize = 4;

/// The encoding of the boxes.
pub(super) const CODER: DenseCoder = DenseCoder::Deltas(BoxCoder::ANCHORS);

/// torchvision's postprocessing settings.
pub(crate) const POSTPROCESSING: DetectionSettings = DetectionSettings::RETINANET;

pub(crate) const LAYOUT_V1: Layout = Layout { upgrade_name: upgrade_retinanet_name, ..LAYOUT_V2 };

pub(crate) const LAYOUT_V2: Layout = Layout {
    backbone: BACKBONE,
    class_layers: &["head.classification_head.cls_logits"],
    logits_per_class: (SCALES[0].len() * RATIOS.len()) as i64,
    landmarks: &LANDMARKS,
    upgrade_name: upgrade_fpn_name,
};

/// RetinaNet: a pyramid from P3 up, and a classification and a regression head that all levels share.
#[derive(Debug, Clone)]
pub(crate) struct RetinaNet<C> {
    backbone: Pyramid<C>,
    classes: i64,
    classification: Head<C>,
    regression: Head<C>,
    anchors: Anchors,
}

/// A head: a tower of convolutions and an output layer.
#[derive(Debug, Clone)]
struct Head<C> {
    conv: Tower<C>,
    last: C,
}

impl RetinaNet<ConvNormAct> {
    pub(crate) fn new(path: &nn::Path<'_>, config: DetectorConfig, version: Version) -> Self {
        let (top, backbone_norm, head_norm) = match version {
            Version::V1 => (Top::P6P7OnP5, config.frozen(), NormKind::None),
            Version::V2 => (Top::P6P7OnC5, NormKind::Batch, NormKind::Group),
        };
        let pyramid = PyramidSpec { lowest: 3, top, backbone_norm, fpn_norm: NormKind::None };
        let anchors = Anchors::new(SCALES.iter().map(<[f32; 3]>::as_slice), &RATIOS);
        let head = |name: &str, output: &str, each: i64, bias_init: f64| {
            let path = path / "head" / name;
            Head {
                conv: Tower::nested(&(&path / "conv"), TOWER_DEPTH, head_norm, HEAD_INIT),
                last: last(&(&path / output), anchors.per_place() * each, bias_init),
            }
        };
        Self {
            backbone: Pyramid::new(&(path / "backbone"), pyramid),
            classes: config.num_classes,
            classification: head("classification_head", "cls_logits", config.num_classes, PRIOR_LOGIT),
            regression: head("regression_head", "bbox_reg", 4, 0.0),
            anchors,
        }
    }

    /// Sets the parameters to torchvision's initial values for `seed`.
    pub(super) fn reset_parameters(&self, seed: u64) {
        self.backbone.reset_parameters(seed);
        for head in [&self.classification, &self.regression] {
            head.conv.reset_parameters(seed);
            head.last.reset_parameters(seed);
        }
    }

    /// Converts every layer for inference on `target`.
    pub(super) fn prepare(self, target: Target) -> RetinaNet<PreparedConv> {
        let head = |head: Head<ConvNormAct>| Head {
            conv: head.conv.prepare(target),
            last: head.last.prepare(target),
        };
        RetinaNet {
            backbone: self.backbone.prepare(target),
            classes: self.classes,
            classification: head(self.classification),
            regression: head(self.regression),
            anchors: self.anchors,
        }
    }
}

impl<C: Conv> RetinaNet<C> {
    /// Runs the network on `x` `[N, 3, H, W]`, normalized. The outputs are differentiable.
    pub(super) fn forward(&self, x: &Tensor) -> DenseOutputs {
        let maps = self.backbone.forward(x);
        let anchors = self.anchors.grid(
            super::extent(x),
            &maps.iter().map(super::extent).collect::<Vec<_>>(),
            x.device(),
        );
        let level = |(map, anchors): (&Tensor, Tensor)| DenseLevel {
            cls_logits: flattened(&self.classification.forward(map), self.classes), // [N, HWA, K]
            bbox_regression: flattened(&self.regression.forward(map), 4),           // [N, HWA, 4]
            bbox_ctrness: None,
            anchors,
        };
        DenseOutputs { levels: maps.iter().zip(anchors).map(level).collect(), coder: CODER }
    }
}

impl<C: Conv> Head<C> {
    fn forward(&self, map: &Tensor) -> Tensor {
        self.last.forward(&self.conv.forward(map))
    }
}
