//! The max pooling of the stem.

use tch::Tensor;

use crate::target::Target;

/// A 3x3 max pooling with stride 2: `[N, C, H, W]` to `[N, C, (H+1)/2, (W+1)/2]`. Its input must come from a ReLU.
#[derive(Debug, Default, Clone)]
pub(crate) struct MaxPool {
    target: Option<Target>,
}

impl MaxPool {
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        let fused = match self.target {
            Some(target) if target.on_tensor_cores() => lookout_fused::cuda::max_pool_of_positives(x).ok(),
            Some(target) if !target.is_gpu() => lookout_fused::max_pool_of_positives(x).ok(),
            _ => None,
        };
        fused.unwrap_or_else(|| x.max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false))
    }

    /// Returns the layer for inference on `target`.
    pub(crate) fn prepare(self, target: Target) -> Self {
        Self { target: Some(target) }
    }
}
