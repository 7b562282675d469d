//! FCOS: Tian, Shen, Chen and He, FCOS: Fully Convolutional One-Stage Object Detection, 2019
//! (<https://arxiv.org/abs/1904.01355>), section 3, with the center-ness beside the regression (Tian et al.
//! 2020, <https://arxiv.org/abs/2006.09214>).

use tch::{Tensor, nn};

use super::{
    DetectorSpec,
    anchors::Anchors,
    dense::{DenseCoder, DenseLevel, DenseOutputs},
    fpn::{Pyramid, PyramidSpec, Top},
    tower::{Tower, flattened, last},
};
use crate::{layer::ConvNormAct, norm::NormKind, target::Target};

/// Side of the square anchor at each location, which is the level's stride.
const SCALES: [[f32; 1]; 5] = [[8.0], [16.0], [32.0], [64.0], [128.0]];

const TOWER_DEPTH: usize = 4;

/// FCOS: a pyramid from P3 up, and two towers that all levels share.
#[derive(Debug, Clone)]
pub(super) struct Fcos {
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
    pub(super) fn new(path: &nn::Path<'_>, spec: DetectorSpec) -> Self {
        let pyramid = PyramidSpec {
            lowest: 3,
            top: Top::P6P7OnP5,
            backbone_norm: spec.frozen(),
            fpn_norm: NormKind::None,
        };
        let classification = path / "head" / "classification_head";
        let regression = path / "head" / "regression_head";
        Self {
            backbone: Pyramid::new(&(path / "backbone"), pyramid),
            classes: spec.classes,
            classification: Tower::flat(&(&classification / "conv"), TOWER_DEPTH),
            cls_logits: last(&(&classification / "cls_logits"), spec.classes),
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
        DenseOutputs { levels: maps.iter().zip(places).map(level).collect(), coder: DenseCoder::Distances }
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
