//! ResNet: He, Zhang, Ren and Sun, Deep Residual Learning for Image Recognition, 2015
//! (<https://arxiv.org/abs/1512.03385>), table 1. The stride of a bottleneck is in its 3x3 convolution
//! (v1.5), as in torchvision, whose names the parameters have.

use tch::{Tensor, nn};

use crate::{
    layer::{Activation, ConvNormAct, ConvShape, Linear, MaxPool},
    target::Target,
};

/// Two 3x3 convolutions, or three with the 3x3 between two 1x1, and the way past them (figure 5).
#[derive(Debug)]
struct Block {
    convs: Vec<ConvNormAct>,
    /// `conv(1x1)` where the block changes the size; else the input itself.
    downsample: Option<ConvNormAct>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BlockKind {
    Basic,
    Bottleneck,
}

impl BlockKind {
    /// Output channels for each of a stage's width.
    const fn expansion(self) -> i64 {
        match self {
            Self::Basic => 1,
            Self::Bottleneck => 4,
        }
    }

    fn shapes(self, inputs: i64, width: i64, stride: i64) -> Vec<ConvShape> {
        match self {
            Self::Basic => {
                vec![ConvShape::same(inputs, width, 3, stride), ConvShape::same(width, width, 3, 1)]
            }
            Self::Bottleneck => vec![
                ConvShape::same(inputs, width, 1, 1),
                ConvShape::same(width, width, 3, stride),
                ConvShape::same(width, width * 4, 1, 1),
            ],
        }
    }
}

impl Block {
    fn new(path: &nn::Path<'_>, kind: BlockKind, inputs: i64, width: i64, stride: i64) -> Self {
        let conv = |(i, shape)| {
            let i = i + 1;
            ConvNormAct::new(
                &(path / format!("conv{i}")),
                &(path / format!("bn{i}")),
                shape,
                Activation::Relu,
            )
        };
        let convs = kind.shapes(inputs, width, stride).into_iter().enumerate().map(conv).collect();
        let outputs = width * kind.expansion();
        let downsample = (stride != 1 || inputs != outputs).then(|| {
            let path = path / "downsample";
            let shape = ConvShape::same(inputs, outputs, 1, stride);
            ConvNormAct::new(&(&path / 0), &(&path / 1), shape, Activation::None)
        });
        Self { convs, downsample }
    }

    /// Takes `x`, whose memory may become the result's.
    fn forward(&self, x: Tensor, train: bool) -> Tensor {
        let identity = match &self.downsample {
            Some(downsample) => downsample.forward(&x, train),
            None => x.shallow_clone(),
        };
        let Some((last, before)) = self.convs.split_last() else { return identity };
        let y = before.iter().fold(x, |x, conv| conv.forward(&x, train));
        last.forward_add(&y, identity, train)
    }

    fn layers_mut(&mut self) -> impl Iterator<Item = &mut ConvNormAct> {
        self.convs.iter_mut().chain(&mut self.downsample)
    }
}

/// The convolutional part: a picture to feature maps at four scales.
#[derive(Debug)]
pub(crate) struct Backbone {
    conv1: ConvNormAct,
    maxpool: MaxPool,
    stages: [Vec<Block>; 4],
}

/// A backbone's output.
#[derive(Debug)]
pub(crate) struct Features {
    /// `[N, 512 or 2048, H/32, W/32]`
    pub(crate) c5: Tensor,
}

impl Backbone {
    fn new(path: &nn::Path<'_>, kind: BlockKind, depths: [usize; 4]) -> Self {
        let stem = ConvShape { inputs: 3, outputs: 64, kernel: 7, stride: 2, padding: 3 };
        let conv1 = ConvNormAct::new(&(path / "conv1"), &(path / "bn1"), stem, Activation::Relu);
        let mut inputs = 64;
        let stages = std::array::from_fn(|stage| {
            let path = path / format!("layer{}", stage + 1);
            let width = 64 << stage;
            (0..depths[stage])
                .map(|i| {
                    let stride = if i == 0 && stage > 0 { 2 } else { 1 };
                    let block = Block::new(&(&path / i), kind, inputs, width, stride);
                    inputs = width * kind.expansion();
                    block
                })
                .collect()
        });
        Self { conv1, maxpool: MaxPool::default(), stages }
    }

    /// `x` `[N, 3, H, W]`, normalised.
    fn forward(&self, x: &Tensor, train: bool) -> Features {
        let x = self.conv1.forward(x, train); // [N, 64, H/2, W/2]
        let x = self.maxpool.forward(&x); // [N, 64, H/4, W/4]
        let c5 = self.stages.iter().flatten().fold(x, |x, block| block.forward(x, train));
        Features { c5 }
    }
}

/// A backbone, the mean over its last feature map, and a linear classifier.
#[derive(Debug)]
pub(crate) struct ResNet {
    backbone: Backbone,
    fc: Linear,
}

impl ResNet {
    /// One of `resnet18`, `resnet34`, `resnet50`, `resnet101`, `resnet152`.
    pub(crate) fn new(path: &nn::Path<'_>, arch: &str, classes: i64) -> Option<Self> {
        let (kind, depths) = match arch {
            "resnet18" => (BlockKind::Basic, [2, 2, 2, 2]),
            "resnet34" => (BlockKind::Basic, [3, 4, 6, 3]),
            "resnet50" => (BlockKind::Bottleneck, [3, 4, 6, 3]),
            "resnet101" => (BlockKind::Bottleneck, [3, 4, 23, 3]),
            "resnet152" => (BlockKind::Bottleneck, [3, 8, 36, 3]),
            _ => return None,
        };
        let backbone = Backbone::new(path, kind, depths);
        Some(Self { backbone, fc: Linear::new(&(path / "fc"), 512 * kind.expansion(), classes) })
    }

    /// `x` `[N, 3, H, W]`, normalised, to logits `[N, classes]`.
    pub(crate) fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let Features { c5 } = self.backbone.forward(x, train);
        let mean = c5.adaptive_avg_pool2d([1, 1]).flatten(1, -1); // [N, 512 or 2048]
        self.fc.forward(&mean)
    }

    /// Makes every layer ready for inference on `target`, for good.
    pub(crate) fn prepare(&mut self, target: Target) {
        let Backbone { conv1, maxpool, stages } = &mut self.backbone;
        conv1.prepare(target);
        maxpool.prepare(target);
        let blocks = stages.iter_mut().flatten();
        blocks.flat_map(Block::layers_mut).for_each(|layer| layer.prepare(target));
        self.fc.prepare(target);
    }
}
