//! Towers: a few 3x3 convolutions that all pyramid levels share.

use tch::{Tensor, nn};

use super::fpn::CHANNELS;
use crate::{
    conv::{Activation, Conv, ConvShape, LayerSpec},
    conv_norm_act::ConvNormAct,
    init::Init,
    norm::NormKind,
    prepared_conv::PreparedConv,
    target::Target,
};

/// The initial weights of the heads that all pyramid levels share (RetinaNet's paper, section 4.1).
pub(super) const HEAD_INIT: Init = Init::Normal { std: 0.01 };

/// The initial bias of a dense detector's class logits: the logit of the probability 0.01. A low probability keeps the
/// many background anchors from dominating the loss at the start (RetinaNet's paper, section 4.1).
pub(super) const PRIOR_LOGIT: f64 = -4.595_119_850_134_59;

/// A sequence of convolutions with norm and ReLU.
#[derive(Debug, Clone)]
pub(super) struct Tower<C>(Vec<C>);

impl Tower<ConvNormAct> {
    /// Creates `depth` layers with convolutions named `0.0`, `1.0` and so on, and norms named `0.1`, `1.1` and
    /// so on, like torchvision's `Conv2dNormActivation`.
    pub(super) fn nested(path: &nn::Path<'_>, depth: usize, norm: NormKind, init: Init) -> Self {
        let layer = |i| {
            let path = path / i;
            ConvNormAct::new(
                &(&path / 0),
                &(&path / 1),
                LayerSpec { norm, ..spec(norm == NormKind::None, init) },
            )
        };
        Self((0..depth).map(layer).collect())
    }

    /// Creates `depth` layers with a bias and a group norm in a flat sequence: convolution `0`, norm `1`,
    /// convolution `3`, norm `4` and so on. The indices between them belong to the ReLUs.
    pub(super) fn flat(path: &nn::Path<'_>, depth: usize) -> Self {
        let layer = |i| {
            let norm = NormKind::Group;
            ConvNormAct::new(
                &(path / (3 * i)),
                &(path / (3 * i + 1)),
                LayerSpec { norm, ..spec(true, HEAD_INIT) },
            )
        };
        Self((0..depth).map(layer).collect())
    }

    /// Sets the parameters to their initial values for `seed`.
    pub(super) fn reset_parameters(&self, seed: u64) {
        self.0.iter().for_each(|layer| layer.reset_parameters(seed));
    }

    /// Converts every layer for inference on `target`.
    pub(super) fn prepare(self, target: Target) -> Tower<PreparedConv> {
        Tower(self.0.into_iter().map(|layer| layer.prepare(target)).collect())
    }
}

impl<C: Conv> Tower<C> {
    /// Maps `[N, 256, H, W]` to the same shape.
    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        self.0.iter().fold(x.shallow_clone(), |x, layer| layer.forward(&x))
    }
}

fn spec(bias: bool, weight_init: Init) -> LayerSpec {
    let shape = ConvShape::same(CHANNELS, CHANNELS, 3, 1);
    LayerSpec { bias, weight_init, ..LayerSpec::new(shape, NormKind::None, Activation::Relu) }
}

/// Creates the output layer of a head: a 3x3 convolution with a bias, whose initial value is `bias_init`.
pub(super) fn last(path: &nn::Path<'_>, out_channels: i64, bias_init: f64) -> ConvNormAct {
    let spec = LayerSpec::plain(ConvShape::same(CHANNELS, out_channels, 3, 1));
    ConvNormAct::without_norm(path, LayerSpec { weight_init: HEAD_INIT, bias_init, ..spec })
}

/// Reshapes a head's output `[N, A*K, H, W]` to `[N, H*W*A, K]`.
pub(super) fn flattened(map: &Tensor, k: i64) -> Tensor {
    // Prepared layers return channels-last tensors, for which this permutation copies nothing.
    let map = map.permute([0, 2, 3, 1]); // [N, H, W, A*K]
    map.reshape([map.size()[0], -1, k])
}
