//! The layer that the networks are built of: a convolution, its norm and its activation.
//!
//! A network is written once. Its layers begin trainable; [`ConvNormAct::prepare`] folds the norm into the
//! convolution and moves the layer to the kernels that are fastest on its device, for inference only.

use std::cell::RefCell;

use tch::{Kind, Tensor, nn};

use crate::{
    kernel::Kernel,
    norm::{GroupNorm, Norm, NormKind},
    target::Target,
};

/// What follows a convolution and its norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    None,
    Relu,
}

/// A convolution's shape; square, as in all networks here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConvShape {
    pub(crate) inputs: i64,
    pub(crate) outputs: i64,
    pub(crate) kernel: i64,
    pub(crate) stride: i64,
    pub(crate) padding: i64,
}

impl ConvShape {
    /// A convolution that keeps height and width where `stride` is 1. `kernel` is odd.
    pub(crate) const fn same(inputs: i64, outputs: i64, kernel: i64, stride: i64) -> Self {
        Self { inputs, outputs, kernel, stride, padding: kernel / 2 }
    }
}

/// What a layer is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LayerSpec {
    pub(crate) shape: ConvShape,
    /// A norm has a bias of its own, so that the convolution before it mostly has none.
    pub(crate) bias: bool,
    pub(crate) norm: NormKind,
    pub(crate) act: Activation,
}

impl LayerSpec {
    /// A convolution with `norm`, or with a bias where that is none.
    pub(crate) fn new(shape: ConvShape, norm: NormKind, act: Activation) -> Self {
        Self { shape, bias: norm == NormKind::None, norm, act }
    }
}

/// `act(norm(conv(x)))`. A clone shares the tensors, so that each thread can have a layer of its own.
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
    /// Inference only; a batch norm is in the weight and the bias.
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
    /// A layer whose weight is zero until a state dict is applied: `conv.weight`, `conv.bias` where `spec`
    /// has it, and the norm's under `norm`.
    pub(crate) fn new(conv: &nn::Path<'_>, norm: &nn::Path<'_>, spec: LayerSpec) -> Self {
        let ConvShape { inputs, outputs, kernel, .. } = spec.shape;
        let weight = conv.var("weight", &[outputs, inputs, kernel, kernel], nn::Init::Const(0.0));
        let bias = spec.bias.then(|| conv.zeros("bias", &[outputs]));
        let norm = Norm::new(norm, spec.norm, outputs);
        Self { spec, form: RefCell::new(Form::Trainable { weight, bias, norm }) }
    }

    /// A convolution with a bias and nothing else.
    pub(crate) fn plain(conv: &nn::Path<'_>, shape: ConvShape) -> Self {
        Self::new(conv, conv, LayerSpec::new(shape, NormKind::None, Activation::None))
    }

    /// `[N, inputs, H, W]` to `[N, outputs, H', W']`. `train` has the norm take the batch's own statistics;
    /// a prepared layer has none.
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

    /// `act(norm(conv(x)) + sum)`. Takes `sum`, whose memory may become the result's.
    pub(crate) fn forward_add(&self, x: &Tensor, sum: Tensor, train: bool) -> Tensor {
        match &mut *self.form.borrow_mut() {
            Form::Trainable { weight, bias, norm } => {
                self.activate(norm.forward(self.conv(x, weight, bias.as_ref()), train) + sum)
            }
            Form::Prepared { kernel, norm: None } => kernel.conv_add(x, sum),
            Form::Prepared { kernel, norm: Some(norm) } => self.activate(norm.forward(&kernel.conv(x)) + sum),
        }
    }

    /// Makes the layer ready for inference on `target`, for good.
    pub(crate) fn prepare(&mut self, target: Target) {
        let LayerSpec { shape, act, .. } = self.spec;
        let form = self.form.get_mut();
        let Form::Trainable { weight, bias, norm } = form else { return };
        let weight = weight.detach();
        let bias = match bias {
            Some(bias) => bias.detach(),
            None => Tensor::zeros([shape.outputs], (Kind::Float, weight.device())),
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

    /// Has `later`, which adds what this prepared layer gives to its own outputs, add this layer's bias as well.
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
        let ConvShape { stride, padding, .. } = self.spec.shape;
        let kind = x.kind();
        let (weight, bias) = (weight.to_kind(kind), bias.map(|bias| bias.to_kind(kind)));
        x.conv2d(&weight, bias.as_ref(), [stride; 2], [padding; 2], [1, 1], 1)
    }

    fn activate(&self, x: Tensor) -> Tensor {
        match self.spec.act {
            Activation::None => x,
            Activation::Relu => x.relu(),
        }
    }
}

/// The greatest of each 3x3, with stride 2: `[N, C, H, W]` to `[N, C, (H+1)/2, (W+1)/2]`. Stands behind a ReLU.
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

    /// Makes the layer ready for inference on `target`, for good.
    pub(crate) fn prepare(&mut self, target: Target) {
        self.target = Some(target);
    }
}

/// A fully connected layer, `x [N, inputs]` to `[N, outputs]`.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Tensor,
    bias: Tensor,
}

/// Shares the tensors.
impl Clone for Linear {
    fn clone(&self) -> Self {
        Self { weight: self.weight.shallow_clone(), bias: self.bias.shallow_clone() }
    }
}

impl Linear {
    /// Parameters `weight` `[outputs, inputs]` and `bias` `[outputs]`, zero until a state dict is applied.
    pub(crate) fn new(path: &nn::Path<'_>, inputs: i64, outputs: i64) -> Self {
        let zero = nn::Init::Const(0.0);
        Self {
            weight: path.var("weight", &[outputs, inputs], zero),
            bias: path.var("bias", &[outputs], zero),
        }
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        let kind = x.kind();
        x.linear(&self.weight.to_kind(kind), Some(self.bias.to_kind(kind)))
    }

    pub(crate) fn outputs(&self) -> usize {
        self.bias.numel()
    }

    /// The output for no input, `[0, outputs]`.
    pub(crate) fn none(&self) -> Tensor {
        Tensor::zeros([0, self.outputs() as i64], (self.weight.kind(), self.weight.device()))
    }

    /// Makes the layer ready for inference on `target`, for good.
    pub(crate) fn prepare(&mut self, target: Target) {
        for tensor in [&mut self.weight, &mut self.bias] {
            *tensor = tensor.detach().to_device(target.device).to_kind(target.precision.kind());
        }
    }
}
