//! The trainable convolution layer.

use tch::{Tensor, nn};

use crate::{
    conv::{Activation, Conv, ConvShape, LayerSpec},
    norm::{Norm, NormKind},
    prepared_conv::PreparedConv,
    target::Target,
};

/// The trainable form of a layer. A trained batch norm uses the batch's statistics.
#[derive(Debug)]
pub(crate) struct ConvNormAct {
    spec: LayerSpec,
    /// The convolution's name in the state dict.
    name: String,
    weight: Tensor,
    bias: Option<Tensor>,
    norm: Norm,
}

impl ConvNormAct {
    /// Creates a layer whose weight is zero until a state dict is loaded or the parameters are reset.
    ///
    /// The parameters are `conv.weight`, `conv.bias` if `spec` has a bias, and the norm's parameters under `norm`.
    pub(crate) fn new(conv: &nn::Path<'_>, norm: &nn::Path<'_>, spec: LayerSpec) -> Self {
        let ConvShape { in_channels, out_channels, kernel, groups, .. } = spec.shape;
        let size = [out_channels, in_channels / groups, kernel, kernel];
        Self {
            spec,
            name: conv.components().collect::<Vec<_>>().join("."),
            weight: conv.var("weight", &size, nn::Init::Const(0.0)),
            bias: spec.bias.then(|| conv.zeros("bias", &[out_channels])),
            norm: Norm::new(norm, spec.norm, out_channels),
        }
    }

    /// Creates a layer without a norm.
    pub(crate) fn without_norm(conv: &nn::Path<'_>, spec: LayerSpec) -> Self {
        Self::new(conv, conv, LayerSpec { norm: NormKind::None, ..spec })
    }

    /// Sets the parameters to their initial values for `seed`.
    pub(crate) fn reset_parameters(&self, seed: u64) {
        self.spec.weight_init.fill(&self.weight, &format!("{}.weight", self.name), seed);
        if let Some(bias) = &self.bias {
            drop(tch::no_grad(|| bias.shallow_clone().fill_(self.spec.bias_init)));
        }
        self.norm.reset_parameters();
    }

    /// Converts the layer for inference on `target`. A batch norm is folded into the convolution.
    pub(crate) fn prepare(self, target: Target) -> PreparedConv {
        let Self { spec, weight, bias, norm, .. } = self;
        PreparedConv::new(spec, &weight.detach(), bias.map(|bias| bias.detach()), &norm, target)
    }

    fn conv(&self, x: &Tensor) -> Tensor {
        let ConvShape { stride, padding, groups, .. } = self.spec.shape;
        let kind = x.kind();
        let (weight, bias) = (self.weight.to_kind(kind), self.bias.as_ref().map(|bias| bias.to_kind(kind)));
        x.conv2d(&weight, bias.as_ref(), [stride; 2], [padding; 2], [1, 1], groups)
    }

    fn activate(&self, x: Tensor) -> Tensor {
        match self.spec.act {
            Activation::None => x,
            Activation::Relu => x.relu(),
        }
    }
}

impl Conv for ConvNormAct {
    fn forward(&self, x: &Tensor) -> Tensor {
        self.activate(self.norm.forward(self.conv(x)))
    }

    fn forward_add(&self, x: &Tensor, sum: Tensor) -> Tensor {
        self.activate(self.norm.forward(self.conv(x)) + sum)
    }
}
