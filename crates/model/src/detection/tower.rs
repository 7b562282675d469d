//! What stands on the pyramid: a few 3x3 convolutions, the same on every level.

use tch::{Tensor, nn};

use super::fpn::CHANNELS;
use crate::{
    layer::{Activation, ConvNormAct, ConvShape, LayerSpec},
    norm::NormKind,
    target::Target,
};

/// Convolutions with norm and ReLU, one after the other.
#[derive(Debug, Clone)]
pub(super) struct Tower(Vec<ConvNormAct>);

impl Tower {
    /// `depth` layers under `0.0`, `1.0` and so on, their norms under `0.1`, `1.1`: torchvision's
    /// `Conv2dNormActivation`.
    pub(super) fn nested(path: &nn::Path<'_>, depth: usize, norm: NormKind) -> Self {
        let layer = |i| {
            let path = path / i;
            ConvNormAct::new(&(&path / 0), &(&path / 1), LayerSpec { norm, ..spec(norm == NormKind::None) })
        };
        Self((0..depth).map(layer).collect())
    }

    /// `depth` layers with a bias and a group norm, flat: convolution `0`, norm `1`, convolution `3`, norm
    /// `4`, the numbers between being the ReLUs'.
    pub(super) fn flat(path: &nn::Path<'_>, depth: usize) -> Self {
        let layer = |i| {
            let norm = NormKind::Group;
            ConvNormAct::new(&(path / (3 * i)), &(path / (3 * i + 1)), LayerSpec { norm, ..spec(true) })
        };
        Self((0..depth).map(layer).collect())
    }

    /// `[N, 256, H, W]` to the same.
    pub(super) fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        self.0.iter().fold(x.shallow_clone(), |x, layer| layer.forward(&x, train))
    }

    /// Makes every layer ready for inference on `target`, for good.
    pub(super) fn prepare(&mut self, target: Target) {
        self.0.iter_mut().for_each(|layer| layer.prepare(target));
    }
}

fn spec(bias: bool) -> LayerSpec {
    let shape = ConvShape::same(CHANNELS, CHANNELS, 3, 1);
    LayerSpec { shape, bias, norm: NormKind::None, act: Activation::Relu }
}

/// A head's last layer: a 3x3 convolution with a bias.
pub(super) fn last(path: &nn::Path<'_>, outputs: i64) -> ConvNormAct {
    ConvNormAct::plain(path, ConvShape::same(CHANNELS, outputs, 3, 1))
}

/// A head's map `[N, A*K, H, W]` as `[N, H*W*A, K]`.
pub(super) fn flattened(map: &Tensor, k: i64) -> Tensor {
    // The channels are last in memory where the layers are prepared, so that nothing moves.
    let map = map.permute([0, 2, 3, 1]); // [N, H, W, A*K]
    map.reshape([map.size()[0], -1, k])
}
