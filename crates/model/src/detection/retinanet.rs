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
    tower::{Tower, flattened, last},
};
use crate::{layer::ConvNormAct, norm::NormKind, target::Target, weights::Layout};

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
pub(crate) struct RetinaNet {
    backbone: Pyramid,
    classes: i64,
    classification: Head,
    regression: Head,
    anchors: Anchors,
}

/// A head: a tower of convolutions and an output layer.
#[derive(Debug, Clone)]
struct Head {
    conv: Tower,
    last: ConvNormAct,
}

impl RetinaNet {
    pub(crate) fn new(path: &nn::Path<'_>, config: DetectorConfig, version: Version) -> Self {
        let (top, backbone_norm, head_norm) = match version {
            Version::V1 => (Top::P6P7OnP5, config.frozen(), NormKind::None),
            Version::V2 => (Top::P6P7OnC5, NormKind::Batch, NormKind::Group),
        };
        let pyramid = PyramidSpec { lowest: 3, top, backbone_norm, fpn_norm: NormKind::None };
        let anchors = Anchors::new(SCALES.iter().map(<[f32; 3]>::as_slice), &RATIOS);
        let head = |name: &str, said: &str, each: i64| {
            let path = path / "head" / name;
            Head {
                conv: Tower::nested(&(&path / "conv"), TOWER_DEPTH, head_norm),
                last: last(&(&path / said), anchors.per_place() * each),
            }
        };
        Self {
            backbone: Pyramid::new(&(path / "backbone"), pyramid),
            classes: config.num_classes,
            classification: head("classification_head", "cls_logits", config.num_classes),
            regression: head("regression_head", "bbox_reg", 4),
            anchors,
        }
    }

    /// Runs the network on `x` `[N, 3, H, W]`, normalized. The outputs are differentiable.
    pub(super) fn forward(&self, x: &Tensor, train: bool) -> DenseOutputs {
        let maps = self.backbone.forward(x, train);
        let anchors = self.anchors.grid(
            super::extent(x),
            &maps.iter().map(super::extent).collect::<Vec<_>>(),
            x.device(),
        );
        let level = |(map, anchors): (&Tensor, Tensor)| DenseLevel {
            cls_logits: flattened(&self.classification.forward(map, train), self.classes), // [N, HWA, K]
            bbox_regression: flattened(&self.regression.forward(map, train), 4),           // [N, HWA, 4]
            bbox_ctrness: None,
            anchors,
        };
        DenseOutputs { levels: maps.iter().zip(anchors).map(level).collect(), coder: CODER }
    }

    /// Prepares every layer for inference on `target`. This cannot be undone.
    pub(super) fn prepare(&mut self, target: Target) {
        self.backbone.prepare(target);
        for head in [&mut self.classification, &mut self.regression] {
            head.conv.prepare(target);
            head.last.prepare(target);
        }
    }
}

impl Head {
    fn forward(&self, map: &Tensor, train: bool) -> Tensor {
        self.last.forward(&self.conv.forward(map, train), train)
    }
}
