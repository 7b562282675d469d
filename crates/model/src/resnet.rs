//! ResNet: He, Zhang, Ren and Sun, Deep Residual Learning for Image Recognition, 2015
//! (<https://arxiv.org/abs/1512.03385>), table 1.
//!
//! As in torchvision, a bottleneck has its stride in the 3x3 convolution (v1.5), and the parameters have torchvision's
//! names. The plain networks that the paper compares with (figure 3, middle) are the same without the shortcuts.
//! ResNeXt (Xie, Girshick, Dollár, Tu and He 2016, <https://arxiv.org/abs/1611.05431>) has grouped convolutions in its
//! bottlenecks, and Wide ResNet (Zagoruyko and Komodakis 2016, <https://arxiv.org/abs/1605.07146>) wider ones.

use tch::{Tensor, nn};

use crate::{
    layer::{Activation, ConvNormAct, ConvShape, LayerSpec, Linear, MaxPool},
    norm::NormKind,
    target::Target,
    weights::Layout,
};

/// A block of two 3x3 convolutions with a shortcut around them (figure 5, left), torchvision's `BasicBlock`.
#[derive(Debug, Clone)]
struct BasicBlock {
    /// 3x3: `layer1.0.conv1`, `layer1.0.bn1` and a ReLU.
    conv1: ConvNormAct,
    /// 3x3: `layer1.0.conv2` and `layer1.0.bn2`; the ReLU is after the sum with the shortcut.
    conv2: ConvNormAct,
    /// The projection of the shortcut if the block changes the shape (section 3.3, option B), 1x1:
    /// `layer2.0.downsample.0` and the norm `layer2.0.downsample.1`.
    downsample: Option<ConvNormAct>,
}

/// A block of 1x1, 3x3 and 1x1 convolutions with a shortcut around them (figure 5, right), torchvision's `Bottleneck`.
#[derive(Debug, Clone)]
struct Bottleneck {
    /// 1x1, fewer channels: `layer1.0.conv1`, `layer1.0.bn1` and a ReLU.
    conv1: ConvNormAct,
    /// 3x3, with the block's stride and groups: `layer1.0.conv2`, `layer1.0.bn2` and a ReLU.
    conv2: ConvNormAct,
    /// 1x1, more channels: `layer1.0.conv3` and `layer1.0.bn3`; the ReLU is after the sum with the shortcut.
    conv3: ConvNormAct,
    /// The projection of the shortcut if the block changes the shape (section 3.3, option B), 1x1:
    /// `layer1.0.downsample.0` and the norm `layer1.0.downsample.1`.
    downsample: Option<ConvNormAct>,
}

/// A [`BasicBlock`] without a shortcut (figure 3, middle).
#[derive(Debug, Clone)]
struct PlainBlock {
    /// 3x3: `layer1.0.conv1`, `layer1.0.bn1` and a ReLU.
    conv1: ConvNormAct,
    /// 3x3: `layer1.0.conv2`, `layer1.0.bn2` and a ReLU.
    conv2: ConvNormAct,
}

/// The shape of a block.
#[derive(Debug, Clone, Copy)]
struct BlockShape {
    in_channels: i64,
    /// Number of channels in a block of the narrowest kind.
    planes: i64,
    stride: i64,
    groups: i64,
    width_per_group: i64,
}

impl BasicBlock {
    /// Ratio of the block's output channels to its planes.
    const EXPANSION: i64 = 1;

    fn new(path: &nn::Path<'_>, shape: BlockShape, norm: NormKind) -> Self {
        let BlockShape { in_channels, planes, stride, .. } = shape;
        Self {
            conv1: conv(path, 1, ConvShape::same(in_channels, planes, 3, stride), norm),
            conv2: conv(path, 2, ConvShape::same(planes, planes, 3, 1), norm),
            downsample: downsample(path, shape, planes * Self::EXPANSION, norm),
        }
    }

    fn forward(&self, x: Tensor, train: bool) -> Tensor {
        let shortcut = shortcut(self.downsample.as_ref(), &x, train);
        let y = self.conv1.forward(&x, train);
        drop(x);
        self.conv2.forward_add(&y, shortcut, train)
    }

    fn prepare(&mut self, target: Target) {
        self.conv1.prepare(target);
        self.conv2.prepare(target);
        if let Some(downsample) = &mut self.downsample {
            downsample.prepare(target);
            downsample.hand_bias_to(&mut self.conv2);
        }
    }
}

impl Bottleneck {
    const EXPANSION: i64 = 4;

    fn new(path: &nn::Path<'_>, shape: BlockShape, norm: NormKind) -> Self {
        let BlockShape { in_channels, planes, stride, groups, width_per_group } = shape;
        let width = planes * width_per_group / 64 * groups;
        let out_channels = planes * Self::EXPANSION;
        Self {
            conv1: conv(path, 1, ConvShape::same(in_channels, width, 1, 1), norm),
            conv2: conv(path, 2, ConvShape { groups, ..ConvShape::same(width, width, 3, stride) }, norm),
            conv3: conv(path, 3, ConvShape::same(width, out_channels, 1, 1), norm),
            downsample: downsample(path, shape, out_channels, norm),
        }
    }

    fn forward(&self, x: Tensor, train: bool) -> Tensor {
        let shortcut = shortcut(self.downsample.as_ref(), &x, train);
        let y = self.conv1.forward(&x, train);
        drop(x);
        let y = self.conv2.forward(&y, train);
        self.conv3.forward_add(&y, shortcut, train)
    }

    fn prepare(&mut self, target: Target) {
        self.conv1.prepare(target);
        self.conv2.prepare(target);
        self.conv3.prepare(target);
        if let Some(downsample) = &mut self.downsample {
            downsample.prepare(target);
            downsample.hand_bias_to(&mut self.conv3);
        }
    }
}

impl PlainBlock {
    const EXPANSION: i64 = 1;

    fn new(path: &nn::Path<'_>, shape: BlockShape, norm: NormKind) -> Self {
        let BlockShape { in_channels, planes, stride, .. } = shape;
        Self {
            conv1: conv(path, 1, ConvShape::same(in_channels, planes, 3, stride), norm),
            conv2: conv(path, 2, ConvShape::same(planes, planes, 3, 1), norm),
        }
    }

    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let y = self.conv1.forward(x, train);
        self.conv2.forward(&y, train)
    }

    fn prepare(&mut self, target: Target) {
        self.conv1.prepare(target);
        self.conv2.prepare(target);
    }
}

/// Creates the convolution `conv{i}` of a block, with its norm `bn{i}` and a ReLU.
fn conv(path: &nn::Path<'_>, i: usize, shape: ConvShape, norm: NormKind) -> ConvNormAct {
    let spec = LayerSpec::new(shape, norm, Activation::Relu);
    ConvNormAct::new(&(path / format!("conv{i}")), &(path / format!("bn{i}")), spec)
}

/// Creates the projection of a block's shortcut. Returns `None` if the input has the shape of the output.
fn downsample(
    path: &nn::Path<'_>,
    shape: BlockShape,
    out_channels: i64,
    norm: NormKind,
) -> Option<ConvNormAct> {
    let BlockShape { in_channels, stride, .. } = shape;
    (stride != 1 || in_channels != out_channels).then(|| {
        let path = path / "downsample";
        let shape = ConvShape::same(in_channels, out_channels, 1, stride);
        ConvNormAct::new(&(&path / 0), &(&path / 1), LayerSpec::new(shape, norm, Activation::None))
    })
}

/// Returns the shortcut: the input `x`, or its projection.
fn shortcut(downsample: Option<&ConvNormAct>, x: &Tensor, train: bool) -> Tensor {
    match downsample {
        Some(downsample) => downsample.forward(x, train),
        None => x.shallow_clone(),
    }
}

/// The kind of block that a network is built from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockKind {
    Plain,
    Basic,
    Bottleneck,
}

impl BlockKind {
    const fn expansion(self) -> i64 {
        match self {
            Self::Plain => PlainBlock::EXPANSION,
            Self::Basic => BasicBlock::EXPANSION,
            Self::Bottleneck => Bottleneck::EXPANSION,
        }
    }
}

#[derive(Debug, Clone)]
enum Block {
    Plain(Box<PlainBlock>),
    Basic(Box<BasicBlock>),
    Bottleneck(Box<Bottleneck>),
}

impl Block {
    fn new(path: &nn::Path<'_>, kind: BlockKind, shape: BlockShape, norm: NormKind) -> Self {
        match kind {
            BlockKind::Plain => Self::Plain(Box::new(PlainBlock::new(path, shape, norm))),
            BlockKind::Basic => Self::Basic(Box::new(BasicBlock::new(path, shape, norm))),
            BlockKind::Bottleneck => Self::Bottleneck(Box::new(Bottleneck::new(path, shape, norm))),
        }
    }

    /// Computes the block's output, which may reuse the memory of `x`.
    fn forward(&self, x: Tensor, train: bool) -> Tensor {
        match self {
            Self::Plain(block) => block.forward(&x, train),
            Self::Basic(block) => block.forward(x, train),
            Self::Bottleneck(block) => block.forward(x, train),
        }
    }

    /// Prepares all layers for inference on `target`. This cannot be undone.
    fn prepare(&mut self, target: Target) {
        match self {
            Self::Plain(block) => block.prepare(target),
            Self::Basic(block) => block.prepare(target),
            Self::Bottleneck(block) => block.prepare(target),
        }
    }
}

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
pub(crate) struct Backbone {
    /// The stem, 7x7 with stride 2: `conv1`, `bn1` and a ReLU.
    conv1: ConvNormAct,
    /// 3x3 with stride 2.
    maxpool: MaxPool,
    /// The paper's `conv2_x`.
    layer1: Vec<Block>,
    /// `conv3_x`
    layer2: Vec<Block>,
    /// `conv4_x`
    layer3: Vec<Block>,
    /// `conv5_x`
    layer4: Vec<Block>,
}

/// A backbone's output: one feature map per stage, from `conv2_x` to `conv5_x` of the paper.
///
/// For a ResNet-50, the shapes are `[N, 256 * 2^i, H / (4 * 2^i), W / (4 * 2^i)]`, rounded up.
pub(crate) type Features = [Tensor; 4];

impl Backbone {
    pub(crate) fn new(path: &nn::Path<'_>, config: ResNetConfig, norm: NormKind) -> Self {
        let ResNetConfig { block, layers: [n1, n2, n3, n4], groups, width_per_group } = config;
        let stem = ConvShape::same(3, 64, 7, 2);
        let stem = LayerSpec::new(stem, norm, Activation::Relu);
        let mut in_channels = 64;
        let mut stage = |name: &str, planes: i64, blocks: usize, stride: i64| -> Vec<Block> {
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

    /// Computes the feature maps of `x` `[N, 3, H, W]`, which is normalized.
    pub(crate) fn forward(&self, x: &Tensor, train: bool) -> Features {
        let x = self.conv1.forward(x, train); // [N, 64, H/2, W/2]
        let mut x = self.maxpool.forward(&x); // [N, 64, H/4, W/4]
        [&self.layer1, &self.layer2, &self.layer3, &self.layer4].map(|stage| {
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
        let stages = [&mut self.layer1, &mut self.layer2, &mut self.layer3, &mut self.layer4];
        stages.into_iter().flatten().for_each(|block| block.prepare(target));
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
        self.fc.out_features()
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
