//! The feature pyramid: Lin, Dollár, Girshick, He, Hariharan and Belongie, Feature Pyramid Networks for
//! Object Detection, 2016 (<https://arxiv.org/abs/1612.03144>), figure 3.

use tch::{Tensor, nn};

use crate::{
    conv::{Activation, Conv, ConvShape, LayerSpec},
    conv_norm_act::ConvNormAct,
    init::Init,
    norm::NormKind,
    prepared_conv::PreparedConv,
    resnet::{Backbone, Features, ResNetConfig},
    target::Target,
};

/// Number of channels of every pyramid level.
pub(super) const CHANNELS: i64 = 256;

/// Number of channels of a ResNet-50's last stage.
const C5_CHANNELS: i64 = 2048;

/// The levels above P5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Top {
    /// P6: P5 subsampled with stride 2 (the paper's section 4.1).
    Subsampled,
    /// P6 and P7: convolutions with stride 2, the first on P5.
    P6P7OnP5,
    /// P6 and P7, with the first convolution on C5 (RetinaNet's paper, section 4).
    P6P7OnC5,
}

/// Configuration of a detector's backbone.
#[derive(Debug, Clone, Copy)]
pub(super) struct PyramidSpec {
    /// The lowest backbone stage that the pyramid uses: 2 for P2, 3 for P3.
    pub(super) lowest: usize,
    pub(super) top: Top,
    pub(super) backbone_norm: NormKind,
    pub(super) fpn_norm: NormKind,
}

/// A ResNet-50 backbone with a feature pyramid.
#[derive(Debug, Clone)]
pub(super) struct Pyramid<C> {
    body: Backbone<C>,
    lowest: usize,
    /// The 1x1 convolutions on the backbone's stages, the lowest first.
    inner: Vec<C>,
    /// The 3x3 convolutions on the merged maps.
    layer: Vec<C>,
    top: Top,
    p6p7: Option<[C; 2]>,
}

impl Pyramid<ConvNormAct> {
    /// Creates the layers under torchvision's names `body` and `fpn` in `path`.
    pub(super) fn new(path: &nn::Path<'_>, spec: PyramidSpec) -> Self {
        let PyramidSpec { lowest, top, backbone_norm, fpn_norm } = spec;
        let body = Backbone::new(&(path / "body"), ResNetConfig::RESNET50, backbone_norm);
        let fpn = path / "fpn";
        let block = |blocks: &str, i: usize, shape: ConvShape| {
            let path = &fpn / blocks / i;
            let spec = LayerSpec::new(shape, fpn_norm, Activation::None);
            let spec = LayerSpec { weight_init: Init::KaimingUniform, ..spec };
            ConvNormAct::new(&(&path / 0), &(&path / 1), spec)
        };
        let stages = lowest..=5;
        let inner = stages.clone().enumerate().map(|(i, stage)| {
            let in_channels = C5_CHANNELS >> (5 - stage);
            block("inner_blocks", i, ConvShape::same(in_channels, CHANNELS, 1, 1))
        });
        let inner = inner.collect();
        let layer = (0..stages.count())
            .map(|i| block("layer_blocks", i, ConvShape::same(CHANNELS, CHANNELS, 3, 1)))
            .collect();
        let extra = &fpn / "extra_blocks";
        let p6p7 = |in_channels| {
            let conv = |name: &str, in_channels| {
                let spec = LayerSpec::plain(ConvShape::same(in_channels, CHANNELS, 3, 2));
                let spec = LayerSpec { weight_init: Init::KaimingUniform, ..spec };
                ConvNormAct::without_norm(&(&extra / name), spec)
            };
            Some([conv("p6", in_channels), conv("p7", CHANNELS)])
        };
        let p6p7 = match top {
            Top::Subsampled => None,
            Top::P6P7OnP5 => p6p7(CHANNELS),
            Top::P6P7OnC5 => p6p7(C5_CHANNELS),
        };
        Self { body, lowest, inner, layer, top, p6p7 }
    }

    fn layers(&self) -> impl Iterator<Item = &ConvNormAct> {
        self.inner.iter().chain(&self.layer).chain(self.p6p7.iter().flatten())
    }

    /// Sets the parameters to torchvision's initial values for `seed`.
    pub(super) fn reset_parameters(&self, seed: u64) {
        self.body.reset_parameters(seed);
        self.layers().for_each(|layer| layer.reset_parameters(seed));
    }

    /// Converts every layer for inference on `target`.
    pub(super) fn prepare(self, target: Target) -> Pyramid<PreparedConv> {
        let all = |layers: Vec<ConvNormAct>| layers.into_iter().map(|layer| layer.prepare(target)).collect();
        Pyramid {
            body: self.body.prepare(target),
            lowest: self.lowest,
            inner: all(self.inner),
            layer: all(self.layer),
            top: self.top,
            p6p7: self.p6p7.map(|layers| layers.map(|layer| layer.prepare(target))),
        }
    }
}

impl<C: Conv> Pyramid<C> {
    /// Runs the backbone on `x` `[N, 3, H, W]`, normalized. Returns the pyramid's levels `[N, 256, h, w]`, the
    /// finest first.
    pub(super) fn forward(&self, x: &Tensor) -> Vec<Tensor> {
        let stages: Features = self.body.forward(x);
        let mut levels: Vec<Tensor> = Vec::with_capacity(6);
        let mut above: Option<Tensor> = None;
        // From the coarsest stage to the finest.
        for ((inner, layer), stage) in
            self.inner.iter().zip(&self.layer).zip(&stages[self.lowest - 2..]).rev()
        {
            let merged = match &above {
                None => inner.forward(stage),
                Some(above) => {
                    let (height, width) = (stage.size()[2], stage.size()[3]);
                    let above = above.upsample_nearest2d([height, width], None, None);
                    inner.forward_add(stage, above)
                }
            };
            levels.push(layer.forward(&merged));
            above = Some(merged);
        }
        levels.reverse();
        let [.., c5] = &stages;
        let Some(p5) = levels.last() else { return levels };
        match &self.p6p7 {
            None => levels.push(p5.max_pool2d([1, 1], [2, 2], [0, 0], [1, 1], false)),
            Some([p6, p7]) => {
                let p6 = p6.forward(if self.top == Top::P6P7OnC5 { c5 } else { p5 });
                let p7 = p7.forward(&p6.relu());
                levels.extend([p6, p7]);
            }
        }
        levels
    }
}
