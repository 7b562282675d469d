//! The convolution layer for inference.

use tch::{Kind, Tensor};

use crate::{
    conv::{Activation, Conv, LayerSpec},
    kernel::Kernel,
    norm::{GroupNorm, Norm},
    target::Target,
};

/// A layer `act(norm(conv(x)))` for inference, with a batch norm folded into the weight and the bias of the convolution,
/// in the fastest kernel of its device.
///
/// A clone shares the tensors, so that each thread can have its own layer.
#[derive(Debug, Clone)]
pub(crate) struct PreparedConv {
    /// Includes the activation if there is no group norm.
    kernel: Kernel,
    group_norm: Option<GroupNorm>,
    act: Activation,
}

impl PreparedConv {
    /// Creates the layer of `spec` for `target` from the convolution's `weight` `[K, C/groups, kh, kw]`, its `bias` `[K]`
    /// and its `norm`, all in fp32.
    pub(crate) fn new(
        spec: LayerSpec,
        weight: &Tensor,
        bias: Option<Tensor>,
        norm: &Norm,
        target: Target,
    ) -> Self {
        let LayerSpec { shape, act, .. } = spec;
        let bias =
            bias.unwrap_or_else(|| Tensor::zeros([shape.out_channels], (Kind::Float, weight.device())));
        let (kernel, group_norm) = match norm {
            Norm::None => (Kernel::new(weight, &bias, shape, act, target), None),
            Norm::Batch(norm) => {
                let (weight, bias) = norm.folded(weight, &bias);
                (Kernel::new(&weight, &bias, shape, act, target), None)
            }
            // Its statistics depend on the image, so that it stays between the convolution and the activation.
            Norm::Group(norm) => {
                let kernel = Kernel::new(weight, &bias, shape, Activation::None, target);
                (kernel, Some(norm.prepared(target)))
            }
        };
        Self { kernel, group_norm, act }
    }

    /// Moves this layer's bias into `later`, the layer that adds this layer's output to its own.
    ///
    /// Does nothing if either layer has a group norm, or if this layer's kernel keeps its bias.
    pub(crate) fn hand_bias_to(&mut self, later: &mut Self) {
        if self.group_norm.is_some() || later.group_norm.is_some() {
            return;
        }
        if let Some(bias) = self.kernel.take_bias() {
            later.kernel.add_bias(&bias);
        }
    }

    fn activate(&self, mut x: Tensor) -> Tensor {
        match self.act {
            Activation::None => x,
            Activation::Relu => x.relu_(),
        }
    }
}

impl Conv for PreparedConv {
    fn forward(&self, x: &Tensor) -> Tensor {
        match &self.group_norm {
            None => self.kernel.conv(x),
            Some(norm) => self.activate(norm.forward(&self.kernel.conv(x))),
        }
    }

    fn forward_add(&self, x: &Tensor, sum: Tensor) -> Tensor {
        match &self.group_norm {
            None => self.kernel.conv_add(x, sum),
            Some(norm) => self.activate(norm.forward(&self.kernel.conv(x)) + sum),
        }
    }
}
