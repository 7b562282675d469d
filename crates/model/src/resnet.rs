//! ResNet: He, Zhang, Ren and Sun, Deep Residual Learning for Image Recognition, 2015
//! (<https://arxiv.org/abs/1512.03385>), table 1.
//!
//! As in torchvision, a bottleneck has its stride in the 3x3 convolution (v1.5), and the parameters have torchvision's
//! names. The plain networks that the paper compares with (figure 3, middle) are the same without the shortcuts.

use tch::{Tensor, nn};

use crate::{
    layer::{Activation, ConvNormAct, ConvShape, LayerSpec, Linear, MaxPool},
    norm::NormKind,
    target::Target,
    weights::Layout,
};

/// A basic block of two 3x3 convolutions, or a bottleneck of 1x1, 3x3 and 1x1, with its shortcut (figure 5).
#[derive(Debug, Clone)]
struct Block {
    convs: Vec<ConvNormAct>,
    /// `None` in a plain network.
    shortcut: Option<Shortcut>,
}

/// The shortcut that is added to the output of the convolutions (section 3.3, option B).
#[derive(Debug, Clone)]
enum Shortcut {
    /// The input itself.
    Identity,
    /// A 1x1 convolution, if the block changes the shape; torchvision's `downsample`.
    Projection(Box<ConvNormAct>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockKind {
    /// A basic block without a shortcut.
    Plain,
    Basic,
    Bottleneck,
}

impl BlockKind {
    /// Returns the ratio of a block's output channels to its width (`planes` in torchvision).
    const fn expansion(self) -> i64 {
        match self {
            Self::Plain | Self::Basic => 1,
            Self::Bottleneck => 4,
        }
    }

    fn shapes(self, inputs: i64, width: i64, stride: i64) -> Vec<ConvShape> {
        match self {
            Self::Plain | Self::Basic => {
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

/// The parameters of a block.
#[derive(Debug, Clone, Copy)]
struct BlockSpec {
    kind: BlockKind,
    norm: NormKind,
    inputs: i64,
    width: i64,
    stride: i64,
}

impl Block {
    fn new(path: &nn::Path<'_>, spec: BlockSpec) -> Self {
        let BlockSpec { kind, norm, inputs, width, stride } = spec;
        let conv = |(i, shape)| {
            let i = i + 1;
            ConvNormAct::new(
                &(path / format!("conv{i}")),
                &(path / format!("bn{i}")),
                LayerSpec::new(shape, norm, Activation::Relu),
            )
        };
        let convs = kind.shapes(inputs, width, stride).into_iter().enumerate().map(conv).collect();
        let outputs = width * kind.expansion();
        let shortcut = match kind {
            BlockKind::Plain => None,
            _ if stride == 1 && inputs == outputs => Some(Shortcut::Identity),
            _ => {
                let path = path / "downsample";
                let shape = ConvShape::same(inputs, outputs, 1, stride);
                let spec = LayerSpec::new(shape, norm, Activation::None);
                Some(Shortcut::Projection(Box::new(ConvNormAct::new(&(&path / 0), &(&path / 1), spec))))
            }
        };
        Self { convs, shortcut }
    }

    /// Computes the block's output, which may reuse the memory of `x`.
    fn forward(&self, x: Tensor, train: bool) -> Tensor {
        let shortcut = self.shortcut.as_ref().map(|shortcut| match shortcut {
            Shortcut::Identity => x.shallow_clone(),
            Shortcut::Projection(conv) => conv.forward(&x, train),
        });
        let Some((last, before)) = self.convs.split_last() else { return x };
        let y = before.iter().fold(x, |x, conv| conv.forward(&x, train));
        match shortcut {
            Some(shortcut) => last.forward_add(&y, shortcut, train),
            None => last.forward(&y, train),
        }
    }

    /// Prepares all layers for inference on `target`. This cannot be undone.
    fn prepare(&mut self, target: Target) {
        self.convs.iter_mut().for_each(|conv| conv.prepare(target));
        if let Some(Shortcut::Projection(projection)) = &mut self.shortcut {
            projection.prepare(target);
            if let Some(last) = self.convs.last_mut() {
                projection.hand_bias_to(last);
            }
        }
    }
}

/// The convolutional part of a ResNet: from an image to feature maps at four scales.
#[derive(Debug, Clone)]
pub(crate) struct Backbone {
    conv1: ConvNormAct,
    maxpool: MaxPool,
    stages: [Vec<Block>; 4],
}

/// A backbone's output: one feature map per stage, from `conv2_x` to `conv5_x` of the paper.
///
/// For a ResNet-50, the shapes are `[N, 256 * 2^i, H / (4 * 2^i), W / (4 * 2^i)]`, rounded up.
pub(crate) type Features = [Tensor; 4];

impl Backbone {
    pub(crate) fn new(path: &nn::Path<'_>, config: ResNetConfig, norm: NormKind) -> Self {
        let ResNetConfig { block: kind, layers } = config;
        let stem = ConvShape { inputs: 3, outputs: 64, kernel: 7, stride: 2, padding: 3 };
        let stem = LayerSpec::new(stem, norm, Activation::Relu);
        let conv1 = ConvNormAct::new(&(path / "conv1"), &(path / "bn1"), stem);
        let mut inputs = 64;
        let stages = std::array::from_fn(|stage| {
            let path = path / format!("layer{}", stage + 1);
            let width = 64 << stage;
            (0..layers[stage])
                .map(|i| {
                    let stride = if i == 0 && stage > 0 { 2 } else { 1 };
                    let block = Block::new(&(&path / i), BlockSpec { kind, norm, inputs, width, stride });
                    inputs = width * kind.expansion();
                    block
                })
                .collect()
        });
        Self { conv1, maxpool: MaxPool::default(), stages }
    }

    /// Computes the feature maps of `x` `[N, 3, H, W]`, which is normalized.
    pub(crate) fn forward(&self, x: &Tensor, train: bool) -> Features {
        let x = self.conv1.forward(x, train); // [N, 64, H/2, W/2]
        let mut x = self.maxpool.forward(&x); // [N, 64, H/4, W/4]
        self.stages.each_ref().map(|stage| {
            // A block may overwrite its input. The first block of a later stage changes the shape and so has no
            // identity shortcut, so that no block overwrites the feature maps that are returned here.
            x = stage.iter().fold(x.shallow_clone(), |x, block| block.forward(x, train));
            x.shallow_clone()
        })
    }

    /// Prepares all layers for inference on `target`. This cannot be undone.
    pub(crate) fn prepare(&mut self, target: Target) {
        self.conv1.prepare(target);
        self.maxpool.prepare(target);
        self.stages.iter_mut().flatten().for_each(|block| block.prepare(target));
    }
}

/// The shape of a ResNet: a column of the paper's table 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ResNetConfig {
    block: BlockKind,
    /// Number of blocks in each stage.
    layers: [usize; 4],
}

impl ResNetConfig {
    pub(crate) const RESNET50: Self = Self::new(BlockKind::Bottleneck, [3, 4, 6, 3]);

    pub(crate) const fn new(block: BlockKind, layers: [usize; 4]) -> Self {
        Self { block, layers }
    }
}

/// The names of the tensors of every ResNet classifier.
pub(crate) const LAYOUT: Layout = Layout {
    backbone: "",
    class_layers: &["fc"],
    logits_per_class: 1,
    landmarks: &["conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight", "layer4.0.conv1.weight"],
    upgrade_name: |_| None,
};

/// A ResNet classifier: a backbone, the mean of its last feature map, and a linear layer.
#[derive(Debug, Clone)]
pub(crate) struct ResNet {
    backbone: Backbone,
    fc: Linear,
}

impl ResNet {
    pub(crate) fn new(path: &nn::Path<'_>, config: ResNetConfig, classes: i64) -> Self {
        let backbone = Backbone::new(path, config, NormKind::Batch);
        Self { backbone, fc: Linear::new(&(path / "fc"), 512 * config.block.expansion(), classes) }
    }

    pub(crate) fn classes(&self) -> usize {
        self.fc.outputs()
    }

    /// Computes logits `[N, classes]` from `x` `[N, 3, H, W]`, which is normalized.
    pub(crate) fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let [.., c5] = self.backbone.forward(x, train);
        let mean = c5.adaptive_avg_pool2d([1, 1]).flatten(1, -1); // [N, 512 or 2048]
        self.fc.forward(&mean)
    }

    /// Prepares all layers for inference on `target`. This cannot be undone.
    pub(crate) fn prepare(&mut self, target: Target) {
        self.backbone.prepare(target);
        self.fc.prepare(target);
    }
}
