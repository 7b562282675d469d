//! Towers: a few 3x3 convolutions that all pyramid levels share.

use tch::{Tensor, nn};

use super::fpn::CHANNELS;
use crate::{
    layer::{Activation, ConvNormAct, ConvShape, LayerSpec},
    norm::NormKind,
    target::Target,
};

/// A sequence of convolutions with norm and ReLU.
#[derive(Debug, Clone)]
pub(super) struct Tower(Vec<ConvNormAct>);

impl Tower {
    /// Creates `depth` layers with convolutions named `0.0`, `1.0` and so on, and norms named `0.1`, `1.1` and
    /// so on, like torchvision's `Conv2dNormActivation`.
    pub(super) fn nested(path: &nn::Path<'_>, depth: usize, norm: NormKind) -> Self {
        let layer = |i| {
            let path = path / i;
            ConvNormAct::new(&(&path / 0), &(&path / 1), LayerSpec { norm, ..spec(norm == NormKind::None) })
        };
        Self((0..depth).map(layer).collect())
    }

    /// Creates `depth` layers with a bias and a group norm in a flat sequence: convolution `0`, norm `1`,
    /// convolution `3`, norm `4` and so on. The indices between them belong to the ReLUs.
    pub(super) fn flat(path: &nn::Path<'_>, depth: usize) -> Self {
        let layer = |i| {
            let norm = NormKind::Group;
            ConvNormAct::new(&(path / (3 * i)), &(path / (3 * i + 1)), LayerSpec { norm, ..spec(true) })
        };
        Self((0..depth).map(layer).collect())
    }

    /// Maps `[N, 256, H, W]` to the same shape.
    pub(super) fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        self.0.iter().fold(x.shallow_clone(), |x, layer| layer.forward(&x, train))
    }

    /// Prepares every layer for inference on `target`. This cannot be undone.
    pub(super) fn prepare(&mut self, target: Target) {
        self.0.iter_mut().for_each(|layer| layer.prepare(target));
    }
}

fn spec(bias: bool) -> LayerSpec {
    let shape = ConvShape::same(CHANNELS, CHANNELS, 3, 1);
    LayerSpec { shape, bias, norm: NormKind::None, act: Activation::Relu }
}

/// Creates the output layer of a head: a 3x3 convolution with a bias.
pub(super) fn last(path: &nn::Path<'_>, out_channels: i64) -> ConvNormAct {
    ConvNormAct::plain(path, ConvShape::same(CHANNELS, out_channels, 3, 1))
}

/// Reshapes a head's output `[N, A*K, H, W]` to `[N, H*W*A, K]`.
pub(super) fn flattened(map: &Tensor, k: i64) -> Tensor {
    // Prepared layers return channels-last tensors, for which this permutation copies nothing.
    let map = map.permute([0, 2, 3, 1]); // [N, H, W, A*K]
    map.reshape([map.size()[0], -1, k])
}
