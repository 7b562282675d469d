//! The layers that the networks are built from, above all the convolution with its norm and its activation.
//!
//! A network is written once, for training and for inference. Its layers start trainable; [`ConvNormAct::prepare`]
//! folds the norm into the convolution and switches the layer to the fastest kernels of its device, for inference only.

use std::cell::RefCell;

use tch::{Kind, Tensor, nn};

use crate::{
    kernel::Kernel,
    norm::{GroupNorm, Norm, NormKind},
    target::Target,
};

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
}

impl LayerSpec {
    /// Returns a convolution with `norm`, or with a bias if `norm` is [`NormKind::None`].
    pub(crate) fn new(shape: ConvShape, norm: NormKind, act: Activation) -> Self {
        Self { shape, bias: norm == NormKind::None, norm, act }
    }
}

/// A layer that computes `act(norm(conv(x)))`. A clone shares the tensors, so that each thread can have its own layer.
#[derive(Debug, Clone)]
pub(crate) struct ConvNormAct {
    spec: LayerSpec,
    form: RefCell<Form>,
}

#[derive(Debug)]
enum Form {
    Trainable {
        weight: Tensor,
        bias: Option<Tensor>,
        norm: Norm,
    },
    /// For inference only. A batch norm is folded into the kernel's weight and bias.
    Prepared {
        kernel: Kernel,
        norm: Option<GroupNorm>,
    },
}

impl Clone for Form {
    fn clone(&self) -> Self {
        match self {
            Self::Trainable { weight, bias, norm } => Self::Trainable {
                weight: weight.shallow_clone(),
                bias: bias.as_ref().map(Tensor::shallow_clone),
                norm: norm.clone(),
            },
            Self::Prepared { kernel, norm } => {
                Self::Prepared { kernel: kernel.shallow_clone(), norm: norm.clone() }
            }
        }
    }
}

impl ConvNormAct {
    /// Creates a layer whose weight is zero until a state dict is loaded.
    ///
    /// The parameters are `conv.weight`, `conv.bias` if `spec` has a bias, and the norm's parameters under `norm`.
    pub(crate) fn new(conv: &nn::Path<'_>, norm: &nn::Path<'_>, spec: LayerSpec) -> Self {
        let ConvShape { in_channels, out_channels, kernel, groups, .. } = spec.shape;
        let size = [out_channels, in_channels / groups, kernel, kernel];
        let weight = conv.var("weight", &size, nn::Init::Const(0.0));
        let bias = spec.bias.then(|| conv.zeros("bias", &[out_channels]));
        let norm = Norm::new(norm, spec.norm, out_channels);
        Self { spec, form: RefCell::new(Form::Trainable { weight, bias, norm }) }
    }

    /// Creates a convolution with a bias and without a norm or an activation.
    pub(crate) fn plain(conv: &nn::Path<'_>, shape: ConvShape) -> Self {
        Self::new(conv, conv, LayerSpec::new(shape, NormKind::None, Activation::None))
    }

    /// Computes `[N, out, H', W']` from `[N, in, H, W]`.
    ///
    /// If `train` is set, a trained batch norm uses the batch's statistics. Prepared layers ignore `train`.
    pub(crate) fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        match &mut *self.form.borrow_mut() {
            Form::Trainable { weight, bias, norm } => {
                self.activate(norm.forward(self.conv(x, weight, bias.as_ref()), train))
            }
            Form::Prepared { kernel, norm: None } => kernel.conv(x),
            Form::Prepared { kernel, norm: Some(norm) } => {
                let mut x = norm.forward(&kernel.conv(x));
                match self.spec.act {
                    Activation::None => x,
                    Activation::Relu => x.relu_(),
                }
            }
        }
    }

    /// Computes `act(norm(conv(x)) + sum)`. The result may reuse the memory of `sum`.
    pub(crate) fn forward_add(&self, x: &Tensor, sum: Tensor, train: bool) -> Tensor {
        match &mut *self.form.borrow_mut() {
            Form::Trainable { weight, bias, norm } => {
                self.activate(norm.forward(self.conv(x, weight, bias.as_ref()), train) + sum)
            }
            Form::Prepared { kernel, norm: None } => kernel.conv_add(x, sum),
            Form::Prepared { kernel, norm: Some(norm) } => self.activate(norm.forward(&kernel.conv(x)) + sum),
        }
    }

    /// Converts the layer to its form for inference on `target`. This cannot be undone.
    pub(crate) fn prepare(&mut self, target: Target) {
        let LayerSpec { shape, act, .. } = self.spec;
        let form = self.form.get_mut();
        let Form::Trainable { weight, bias, norm } = form else { return };
        let weight = weight.detach();
        let bias = match bias {
            Some(bias) => bias.detach(),
            None => Tensor::zeros([shape.out_channels], (Kind::Float, weight.device())),
        };
        *form = match norm {
            Norm::None => {
                Form::Prepared { kernel: Kernel::new(&weight, &bias, shape, act, target), norm: None }
            }
            Norm::Batch(norm) => {
                let (weight, bias) = norm.folded(&weight, &bias);
                Form::Prepared { kernel: Kernel::new(&weight, &bias, shape, act, target), norm: None }
            }
            Norm::Group(norm) => Form::Prepared {
                kernel: Kernel::new(&weight, &bias, shape, Activation::None, target),
                norm: Some(norm.prepared(target)),
            },
        };
    }

    /// Moves this prepared layer's bias into `later`, the layer that adds this layer's output to its own.
    ///
    /// Does nothing if either layer is not prepared or has a group norm, or if this layer's kernel keeps its bias.
    pub(crate) fn hand_bias_to(&mut self, later: &mut Self) {
        let (Form::Prepared { kernel, norm: None }, Form::Prepared { kernel: later, norm: None }) =
            (self.form.get_mut(), later.form.get_mut())
        else {
            return;
        };
        if let Some(bias) = kernel.take_bias() {
            later.add_bias(&bias);
        }
    }

    fn conv(&self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
        let ConvShape { stride, padding, groups, .. } = self.spec.shape;
        let kind = x.kind();
        let (weight, bias) = (weight.to_kind(kind), bias.map(|bias| bias.to_kind(kind)));
        x.conv2d(&weight, bias.as_ref(), [stride; 2], [padding; 2], [1, 1], groups)
    }

    fn activate(&self, x: Tensor) -> Tensor {
        match self.spec.act {
            Activation::None => x,
            Activation::Relu => x.relu(),
        }
    }
}

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

    /// Prepares the layer for inference on `target`. This cannot be undone.
    pub(crate) fn prepare(&mut self, target: Target) {
        self.target = Some(target);
    }
}

/// A fully connected layer: `[N, in]` to `[N, out]`.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Tensor,
    bias: Tensor,
}

/// A clone shares the tensors.
impl Clone for Linear {
    fn clone(&self) -> Self {
        Self { weight: self.weight.shallow_clone(), bias: self.bias.shallow_clone() }
    }
}

impl Linear {
    /// Creates the parameters `weight` `[out, in]` and `bias` `[out]`, which are zero until a state dict is
    /// loaded.
    pub(crate) fn new(path: &nn::Path<'_>, in_features: i64, out_features: i64) -> Self {
        let zero = nn::Init::Const(0.0);
        Self {
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

    /// Converts the layer for inference on `target`. This cannot be undone.
    pub(crate) fn prepare(&mut self, target: Target) {
        for tensor in [&mut self.weight, &mut self.bias] {
            *tensor = tensor.detach().to_device(target.device).to_kind(target.precision.kind());
        }
    }
}
