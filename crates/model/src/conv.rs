//! The convolution with its norm and its activation, from which the networks are built.
//!
//! A network is written once, over the type of its convolutions: [`crate::conv_norm_act::ConvNormAct`] in a network that
//! can be trained, [`crate::prepared_conv::PreparedConv`] in one for inference.

use tch::Tensor;

use crate::{init::Init, norm::NormKind};

/// The activation after a convolution and its norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    None,
    Relu,
}

/// The shape of a convolution. Kernel, stride and padding are square in all networks here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConvShape {
    pub(crate) in_channels: i64,
    pub(crate) out_channels: i64,
    pub(crate) kernel: i64,
    pub(crate) stride: i64,
    pub(crate) padding: i64,
    /// Each group of output channels is computed from one group of input channels.
    pub(crate) groups: i64,
}

impl ConvShape {
    /// Returns a convolution that keeps height and width if `stride` is 1. `kernel` must be odd.
    pub(crate) const fn same(in_channels: i64, out_channels: i64, kernel: i64, stride: i64) -> Self {
        Self { in_channels, out_channels, kernel, stride, padding: kernel / 2, groups: 1 }
    }
}

/// The components of a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LayerSpec {
    pub(crate) shape: ConvShape,
    /// Usually false if there is a norm, because the norm has its own bias.
    pub(crate) bias: bool,
    pub(crate) norm: NormKind,
    pub(crate) act: Activation,
    /// The initial values of the convolution's weight.
    pub(crate) weight_init: Init,
    /// The initial value of the convolution's bias.
    pub(crate) bias_init: f64,
}

impl LayerSpec {
    /// Returns a convolution with `norm`, or with a bias if `norm` is [`NormKind::None`].
    pub(crate) fn new(shape: ConvShape, norm: NormKind, act: Activation) -> Self {
        Self {
            shape,
            bias: norm == NormKind::None,
            norm,
            act,
            weight_init: Init::KaimingNormal,
            bias_init: 0.0,
        }
    }

    /// Returns a convolution with a bias and without a norm or an activation.
    pub(crate) fn plain(shape: ConvShape) -> Self {
        Self::new(shape, NormKind::None, Activation::None)
    }
}

/// A layer that computes `act(norm(conv(x)))`, either trainable or for inference.
pub(crate) trait Conv {
    /// Computes `[N, out, H', W']` from `[N, in, H, W]`.
    fn forward(&self, x: &Tensor) -> Tensor;

    /// Computes `act(norm(conv(x)) + sum)`. The result may reuse the memory of `sum`.
    fn forward_add(&self, x: &Tensor, sum: Tensor) -> Tensor;
}
