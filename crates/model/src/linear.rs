//! The fully connected layer.

use tch::{Tensor, nn};

use crate::{init::Init, target::Target};

/// A fully connected layer: `[N, in]` to `[N, out]`.
#[derive(Debug)]
pub(crate) struct Linear {
    /// The name in the state dict.
    name: String,
    weight: Tensor,
    bias: Tensor,
}

/// A clone shares the tensors.
impl Clone for Linear {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), weight: self.weight.shallow_clone(), bias: self.bias.shallow_clone() }
    }
}

impl Linear {
    /// Creates the parameters `weight` `[out, in]` and `bias` `[out]`, which are zero until a state dict is
    /// loaded or the parameters are reset.
    pub(crate) fn new(path: &nn::Path<'_>, in_features: i64, out_features: i64) -> Self {
        let zero = nn::Init::Const(0.0);
        Self {
            name: path.components().collect::<Vec<_>>().join("."),
            weight: path.var("weight", &[out_features, in_features], zero),
            bias: path.var("bias", &[out_features], zero),
        }
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        let kind = x.kind();
        x.linear(&self.weight.to_kind(kind), Some(self.bias.to_kind(kind)))
    }

    pub(crate) fn out_features(&self) -> usize {
        self.bias.numel()
    }

    /// Returns the output for an empty batch, `[0, out]`.
    pub(crate) fn none(&self) -> Tensor {
        Tensor::zeros([0, self.out_features() as i64], (self.weight.kind(), self.weight.device()))
    }

    /// Sets the parameters to their initial values for `seed`, as torch's `Linear.reset_parameters` does.
    pub(crate) fn reset_parameters(&self, seed: u64) {
        let fan_in = self.weight.size().get(1).copied().unwrap_or(1).max(1) as f64;
        let init = Init::Uniform { bound: 1.0 / fan_in.sqrt() };
        init.fill(&self.weight, &format!("{}.weight", self.name), seed);
        init.fill(&self.bias, &format!("{}.bias", self.name), seed);
    }

    /// Returns the layer for inference on `target`.
    pub(crate) fn prepare(self, target: Target) -> Self {
        let convert =
            |tensor: &Tensor| tensor.detach().to_device(target.device).to_kind(target.precision.kind());
        Self { name: self.name, weight: convert(&self.weight), bias: convert(&self.bias) }
    }
}
