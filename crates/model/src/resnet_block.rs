//! The blocks of a ResNet: He, Zhang, Ren and Sun, Deep Residual Learning for Image Recognition, 2015
//! (<https://arxiv.org/abs/1512.03385>), figures 3 and 5.

use tch::{Tensor, nn};

use crate::{
    conv::{Activation, Conv, ConvShape, LayerSpec},
    conv_norm_act::ConvNormAct,
    norm::NormKind,
    prepared_conv::PreparedConv,
    target::Target,
};

/// A block of two 3x3 convolutions with a shortcut around them (figure 5, left), torchvision's `BasicBlock`.
#[derive(Debug, Clone)]
pub(crate) struct BasicBlock<C> {
    /// 3x3: `layer1.0.conv1`, `layer1.0.bn1` and a ReLU.
    conv1: C,
    /// 3x3: `layer1.0.conv2` and `layer1.0.bn2`; the ReLU is after the sum with the shortcut.
    conv2: C,
    /// The projection of the shortcut if the block changes the shape (section 3.3, option B), 1x1:
    /// `layer2.0.downsample.0` and the norm `layer2.0.downsample.1`.
    downsample: Option<C>,
}

/// A block of 1x1, 3x3 and 1x1 convolutions with a shortcut around them (figure 5, right), torchvision's `Bottleneck`.
#[derive(Debug, Clone)]
pub(crate) struct Bottleneck<C> {
    /// 1x1, fewer channels: `layer1.0.conv1`, `layer1.0.bn1` and a ReLU.
    conv1: C,
    /// 3x3, with the block's stride and groups: `layer1.0.conv2`, `layer1.0.bn2` and a ReLU.
    conv2: C,
    /// 1x1, more channels: `layer1.0.conv3` and `layer1.0.bn3`; the ReLU is after the sum with the shortcut.
    conv3: C,
    /// The projection of the shortcut if the block changes the shape (section 3.3, option B), 1x1:
    /// `layer1.0.downsample.0` and the norm `layer1.0.downsample.1`.
    downsample: Option<C>,
}

/// A [`BasicBlock`] without a shortcut (figure 3, middle).
#[derive(Debug, Clone)]
pub(crate) struct PlainBlock<C> {
    /// 3x3: `layer1.0.conv1`, `layer1.0.bn1` and a ReLU.
    conv1: C,
    /// 3x3: `layer1.0.conv2`, `layer1.0.bn2` and a ReLU.
    conv2: C,
}

/// The shape of a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockShape {
    pub(crate) in_channels: i64,
    /// Number of channels in a block of the narrowest kind.
    pub(crate) planes: i64,
    pub(crate) stride: i64,
    pub(crate) groups: i64,
    pub(crate) width_per_group: i64,
}

impl<C: Conv> BasicBlock<C> {
    fn forward(&self, x: Tensor) -> Tensor {
        let shortcut = shortcut(self.downsample.as_ref(), &x);
        let y = self.conv1.forward(&x);
        drop(x);
        self.conv2.forward_add(&y, shortcut)
    }
}

impl BasicBlock<ConvNormAct> {
    fn new(path: &nn::Path<'_>, shape: BlockShape, norm: NormKind) -> Self {
        let BlockShape { in_channels, planes, stride, .. } = shape;
        Self {
            conv1: conv(path, 1, ConvShape::same(in_channels, planes, 3, stride), norm),
            conv2: conv(path, 2, ConvShape::same(planes, planes, 3, 1), norm),
            downsample: downsample(path, shape, planes * BlockKind::Basic.expansion(), norm),
        }
    }

    fn reset_parameters(&self, seed: u64) {
        [&self.conv1, &self.conv2].into_iter().for_each(|conv| conv.reset_parameters(seed));
        self.downsample.iter().for_each(|conv| conv.reset_parameters(seed));
    }

    fn prepare(self, target: Target) -> BasicBlock<PreparedConv> {
        let mut conv2 = self.conv2.prepare(target);
        let downsample = self.downsample.map(|conv| prepare_downsample(conv, &mut conv2, target));
        BasicBlock { conv1: self.conv1.prepare(target), conv2, downsample }
    }
}

impl<C: Conv> Bottleneck<C> {
    fn forward(&self, x: Tensor) -> Tensor {
        let shortcut = shortcut(self.downsample.as_ref(), &x);
        let y = self.conv1.forward(&x);
        drop(x);
        let y = self.conv2.forward(&y);
        self.conv3.forward_add(&y, shortcut)
    }
}

impl Bottleneck<ConvNormAct> {
    fn new(path: &nn::Path<'_>, shape: BlockShape, norm: NormKind) -> Self {
        let BlockShape { in_channels, planes, stride, groups, width_per_group } = shape;
        let width = planes * width_per_group / 64 * groups;
        let out_channels = planes * BlockKind::Bottleneck.expansion();
        Self {
            conv1: conv(path, 1, ConvShape::same(in_channels, width, 1, 1), norm),
            conv2: conv(path, 2, ConvShape { groups, ..ConvShape::same(width, width, 3, stride) }, norm),
            conv3: conv(path, 3, ConvShape::same(width, out_channels, 1, 1), norm),
            downsample: downsample(path, shape, out_channels, norm),
        }
    }

    fn reset_parameters(&self, seed: u64) {
        [&self.conv1, &self.conv2, &self.conv3].into_iter().for_each(|conv| conv.reset_parameters(seed));
        self.downsample.iter().for_each(|conv| conv.reset_parameters(seed));
    }

    fn prepare(self, target: Target) -> Bottleneck<PreparedConv> {
        let mut conv3 = self.conv3.prepare(target);
        let downsample = self.downsample.map(|conv| prepare_downsample(conv, &mut conv3, target));
        Bottleneck { conv1: self.conv1.prepare(target), conv2: self.conv2.prepare(target), conv3, downsample }
    }
}

impl<C: Conv> PlainBlock<C> {
    fn forward(&self, x: &Tensor) -> Tensor {
        let y = self.conv1.forward(x);
        self.conv2.forward(&y)
    }
}

impl PlainBlock<ConvNormAct> {
    fn new(path: &nn::Path<'_>, shape: BlockShape, norm: NormKind) -> Self {
        let BlockShape { in_channels, planes, stride, .. } = shape;
        Self {
            conv1: conv(path, 1, ConvShape::same(in_channels, planes, 3, stride), norm),
            conv2: conv(path, 2, ConvShape::same(planes, planes, 3, 1), norm),
        }
    }

    fn reset_parameters(&self, seed: u64) {
        [&self.conv1, &self.conv2].into_iter().for_each(|conv| conv.reset_parameters(seed));
    }

    fn prepare(self, target: Target) -> PlainBlock<PreparedConv> {
        PlainBlock { conv1: self.conv1.prepare(target), conv2: self.conv2.prepare(target) }
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

/// Prepares the projection of a block's shortcut, and moves its bias into `last`, the block's last convolution.
fn prepare_downsample(downsample: ConvNormAct, last: &mut PreparedConv, target: Target) -> PreparedConv {
    let mut downsample = downsample.prepare(target);
    downsample.hand_bias_to(last);
    downsample
}

/// Returns the shortcut: the input `x`, or its projection.
fn shortcut<C: Conv>(downsample: Option<&C>, x: &Tensor) -> Tensor {
    match downsample {
        Some(downsample) => downsample.forward(x),
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
    /// Returns the ratio of a block's output channels to its planes.
    pub(crate) const fn expansion(self) -> i64 {
        match self {
            Self::Plain | Self::Basic => 1,
            Self::Bottleneck => 4,
        }
    }
}

/// A block of any kind.
#[derive(Debug, Clone)]
pub(crate) enum Block<C> {
    Plain(Box<PlainBlock<C>>),
    Basic(Box<BasicBlock<C>>),
    Bottleneck(Box<Bottleneck<C>>),
}

impl<C: Conv> Block<C> {
    /// Computes the block's output, which may reuse the memory of `x`.
    pub(crate) fn forward(&self, x: Tensor) -> Tensor {
        match self {
            Self::Plain(block) => block.forward(&x),
            Self::Basic(block) => block.forward(x),
            Self::Bottleneck(block) => block.forward(x),
        }
    }
}

impl Block<ConvNormAct> {
    pub(crate) fn new(path: &nn::Path<'_>, kind: BlockKind, shape: BlockShape, norm: NormKind) -> Self {
        match kind {
            BlockKind::Plain => Self::Plain(Box::new(PlainBlock::new(path, shape, norm))),
            BlockKind::Basic => Self::Basic(Box::new(BasicBlock::new(path, shape, norm))),
            BlockKind::Bottleneck => Self::Bottleneck(Box::new(Bottleneck::new(path, shape, norm))),
        }
    }

    pub(crate) fn reset_parameters(&self, seed: u64) {
        match self {
            Self::Plain(block) => block.reset_parameters(seed),
            Self::Basic(block) => block.reset_parameters(seed),
            Self::Bottleneck(block) => block.reset_parameters(seed),
        }
    }

    pub(crate) fn prepare(self, target: Target) -> Block<PreparedConv> {
        match self {
            Self::Plain(block) => Block::Plain(Box::new(block.prepare(target))),
            Self::Basic(block) => Block::Basic(Box::new(block.prepare(target))),
            Self::Bottleneck(block) => Block::Bottleneck(Box::new(block.prepare(target))),
        }
    }
}
