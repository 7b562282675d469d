//! ResNet: He, Zhang, Ren and Sun, Deep Residual Learning for Image Recognition, 2015
//! (<https://arxiv.org/abs/1512.03385>), table 1.
//!
//! As in torchvision, a bottleneck has its stride in the 3x3 convolution (v1.5), and the parameters have torchvision's
//! names. The plain networks that the paper compares with (figure 3, middle) are the same without the shortcuts.
//! ResNeXt (Xie, Girshick, Dollár, Tu and He 2016, <https://arxiv.org/abs/1611.05431>) has grouped convolutions in its
//! bottlenecks, and Wide ResNet (Zagoruyko and Komodakis 2016, <https://arxiv.org/abs/1605.07146>) wider ones.

use tch::{Tensor, nn};

use crate::{
    conv::{Activation, Conv, ConvShape, LayerSpec},
    conv_norm_act::ConvNormAct,
    linear::Linear,
    max_pool::MaxPool,
    norm::NormKind,
    prepared_conv::PreparedConv,
    resnet_block::{Block, BlockKind, BlockShape},
    target::Target,
    weights::Layout,
};

/// The shape of a ResNet: a column of the paper's table 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ResNetConfig {
    pub(crate) block: BlockKind,
    /// Number of blocks in each stage.
    pub(crate) layers: [usize; 4],
    /// Number of groups of the 3x3 convolutions in bottlenecks: the cardinality of ResNeXt.
    pub(crate) groups: i64,
    /// Number of channels per group in the 3x3 convolutions of the first stage's bottlenecks. It doubles with each
    /// stage.
    pub(crate) width_per_group: i64,
}

impl ResNetConfig {
    pub(crate) const RESNET50: Self = Self::new(BlockKind::Bottleneck, [3, 4, 6, 3]);

    pub(crate) const fn new(block: BlockKind, layers: [usize; 4]) -> Self {
        Self { block, layers, groups: 1, width_per_group: 64 }
    }
}

/// The convolutional part of a ResNet: from an image to feature maps at four scales.
#[derive(Debug, Clone)]
pub(crate) struct Backbone<C> {
    /// The stem, 7x7 with stride 2: `conv1`, `bn1` and a ReLU.
    conv1: C,
    /// 3x3 with stride 2.
    maxpool: MaxPool,
    /// The paper's `conv2_x`.
    layer1: Vec<Block<C>>,
    /// `conv3_x`
    layer2: Vec<Block<C>>,
    /// `conv4_x`
    layer3: Vec<Block<C>>,
    /// `conv5_x`
    layer4: Vec<Block<C>>,
}

/// A backbone's output: one feature map per stage, from `conv2_x` to `conv5_x` of the paper.
///
/// For a ResNet-50, the shapes are `[N, 256 * 2^i, H / (4 * 2^i), W / (4 * 2^i)]`, rounded up.
pub(crate) type Features = [Tensor; 4];

impl Backbone<ConvNormAct> {
    pub(crate) fn new(path: &nn::Path<'_>, config: ResNetConfig, norm: NormKind) -> Self {
        let ResNetConfig { block, layers: [n1, n2, n3, n4], groups, width_per_group } = config;
        let stem = ConvShape::same(3, 64, 7, 2);
        let stem = LayerSpec::new(stem, norm, Activation::Relu);
        let mut in_channels = 64;
        let mut stage = |name: &str, planes: i64, blocks: usize, stride: i64| -> Vec<Block<ConvNormAct>> {
            let path = path / name;
            let block = |i| {
                let stride = if i == 0 { stride } else { 1 };
                let shape = BlockShape { in_channels, planes, stride, groups, width_per_group };
                in_channels = planes * block.expansion();
                Block::new(&(&path / i), block, shape, norm)
            };
            (0..blocks).map(block).collect()
        };
        Self {
            conv1: ConvNormAct::new(&(path / "conv1"), &(path / "bn1"), stem),
            maxpool: MaxPool::default(),
            layer1: stage("layer1", 64, n1, 1),
            layer2: stage("layer2", 128, n2, 2),
            layer3: stage("layer3", 256, n3, 2),
            layer4: stage("layer4", 512, n4, 2),
        }
    }

    /// Sets the parameters to torchvision's initial values for `seed`.
    pub(crate) fn reset_parameters(&self, seed: u64) {
        self.conv1.reset_parameters(seed);
        let stages = [&self.layer1, &self.layer2, &self.layer3, &self.layer4];
        stages.into_iter().flatten().for_each(|block| block.reset_parameters(seed));
    }

    /// Converts all layers for inference on `target`.
    pub(crate) fn prepare(self, target: Target) -> Backbone<PreparedConv> {
        let stage = |blocks: Vec<Block<ConvNormAct>>| {
            blocks.into_iter().map(|block| block.prepare(target)).collect::<Vec<_>>()
        };
        Backbone {
            conv1: self.conv1.prepare(target),
            maxpool: self.maxpool.prepare(target),
            layer1: stage(self.layer1),
            layer2: stage(self.layer2),
            layer3: stage(self.layer3),
            layer4: stage(self.layer4),
        }
    }
}

impl<C: Conv> Backbone<C> {
    /// Computes the feature maps of `x` `[N, 3, H, W]`, which is normalized.
    pub(crate) fn forward(&self, x: &Tensor) -> Features {
        let x = self.conv1.forward(x); // [N, 64, H/2, W/2]
        let mut x = self.maxpool.forward(&x); // [N, 64, H/4, W/4]
        [&self.layer1, &self.layer2, &self.layer3, &self.layer4].map(|stage| {
            // A block may overwrite its input. The first block of a later stage changes the shape and so has no
            // identity shortcut, so that no block overwrites the feature maps that are returned here.
            x = stage.iter().fold(x.shallow_clone(), |x, block| block.forward(x));
            x.shallow_clone()
        })
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
pub(crate) struct ResNet<C> {
    backbone: Backbone<C>,
    fc: Linear,
}

impl ResNet<ConvNormAct> {
    pub(crate) fn new(path: &nn::Path<'_>, config: ResNetConfig, classes: i64) -> Self {
        let backbone = Backbone::new(path, config, NormKind::Batch);
        Self { backbone, fc: Linear::new(&(path / "fc"), 512 * config.block.expansion(), classes) }
    }

    /// Sets the parameters to torchvision's initial values for `seed`.
    pub(crate) fn reset_parameters(&self, seed: u64) {
        self.backbone.reset_parameters(seed);
        self.fc.reset_parameters(seed);
    }

    /// Converts all layers for inference on `target`.
    pub(crate) fn prepare(self, target: Target) -> ResNet<PreparedConv> {
        ResNet { backbone: self.backbone.prepare(target), fc: self.fc.prepare(target) }
    }
}

impl<C: Conv> ResNet<C> {
    pub(crate) fn classes(&self) -> usize {
        self.fc.out_features()
    }

    /// Computes logits `[N, classes]` from `x` `[N, 3, H, W]`, which is normalized.
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        let [.., c5] = self.backbone.forward(x);
        let mean = c5.adaptive_avg_pool2d([1, 1]).flatten(1, -1); // [N, 512 or 2048]
        self.fc.forward(&mean)
    }
}
