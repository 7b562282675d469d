//! The layer that the networks are built of: a convolution, its norm and its activation.
//!
//! A network is written once. Its layers begin trainable; [`ConvNormAct::prepare`] folds the norm into the
//! convolution and moves the layer to the kernels that are fastest on its device, for inference only.

use std::cell::RefCell;

use tch::{
    Kind, Tensor,
    nn::{self, ModuleT},
};

use crate::{kernel::Kernel, target::Target};

/// Keeps a batch norm from dividing by zero.
const EPS: f64 = 1e-5;

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

/// `act(norm(conv(x)))`.
#[derive(Debug)]
pub(crate) struct ConvNormAct {
    shape: ConvShape,
    act: Activation,
    form: RefCell<Form>,
}

#[derive(Debug)]
enum Form {
    Trainable {
        weight: Tensor,
        norm: nn::BatchNorm,
    },
    /// Inference only; the norm is in the weight and the bias.
    Prepared(Kernel),
}

impl ConvNormAct {
    /// A layer whose parameters are zero until a state dict is applied: `conv.weight`, and of the batch
    /// norm (Ioffe and Szegedy 2015) `norm.{weight,bias,running_mean,running_var}`.
    pub(crate) fn new(conv: &nn::Path<'_>, norm: &nn::Path<'_>, shape: ConvShape, act: Activation) -> Self {
        let size = [shape.outputs, shape.inputs, shape.kernel, shape.kernel];
        let weight = conv.var("weight", &size, nn::Init::Const(0.0));
        let norm =
            nn::batch_norm2d(norm, shape.outputs, nn::BatchNormConfig { eps: EPS, ..Default::default() });
        Self { shape, act, form: RefCell::new(Form::Trainable { weight, norm }) }
    }

    /// `[N, inputs, H, W]` to `[N, outputs, H', W']`. `train` has the norm take the batch's own statistics;
    /// a prepared layer has none.
    pub(crate) fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        match &mut *self.form.borrow_mut() {
            Form::Trainable { weight, norm } => self.activate(self.plain(x, weight, norm, train)),
            Form::Prepared(kernel) => kernel.conv(x),
        }
    }

    /// `act(norm(conv(x)) + sum)`. Takes `sum`, whose memory may become the result's.
    pub(crate) fn forward_add(&self, x: &Tensor, sum: Tensor, train: bool) -> Tensor {
        match &mut *self.form.borrow_mut() {
            Form::Trainable { weight, norm } => self.activate(self.plain(x, weight, norm, train) + sum),
            Form::Prepared(kernel) => kernel.conv_add(x, sum),
        }
    }

    /// Makes the layer ready for inference on `target`, for good.
    pub(crate) fn prepare(&mut self, target: Target) {
        let form = self.form.get_mut();
        if let Form::Trainable { weight, norm } = form {
            let (weight, bias) = fold(weight, norm);
            *form = Form::Prepared(Kernel::new(&weight, &bias, self.shape, self.act, target));
        }
    }

    fn plain(&self, x: &Tensor, weight: &Tensor, norm: &nn::BatchNorm, train: bool) -> Tensor {
        let ConvShape { stride, padding, .. } = self.shape;
        let x = x.conv2d(weight, None::<Tensor>, [stride; 2], [padding; 2], [1, 1], 1);
        norm.forward_t(&x, train)
    }

    fn activate(&self, x: Tensor) -> Tensor {
        match self.act {
            Activation::None => x,
            Activation::Relu => x.relu(),
        }
    }
}

/// The weight `[K, C, kh, kw]` and bias `[K]` of the convolution that does what this one and its norm do
/// in inference: `gamma * (w * x - mean) / sqrt(var + eps) + beta`. In double precision, so that folding
/// costs nothing that fp32 can show.
fn fold(weight: &Tensor, norm: &nn::BatchNorm) -> (Tensor, Tensor) {
    let double = |tensor: &Tensor| tensor.to_kind(Kind::Double);
    let one = |tensor: &Option<Tensor>, otherwise: f64| match tensor {
        Some(tensor) => double(tensor),
        None => double(&norm.running_var).full_like(otherwise),
    };
    let scale = one(&norm.ws, 1.0) / (double(&norm.running_var) + EPS).sqrt();
    let bias = one(&norm.bs, 0.0) - double(&norm.running_mean) * &scale;
    let weight = double(weight) * scale.view([-1, 1, 1, 1]); // [K, C, kh, kw]
    (weight.to_kind(Kind::Float).detach(), bias.to_kind(Kind::Float).detach())
}

/// The greatest of each 3x3, with stride 2: `[N, C, H, W]` to `[N, C, (H+1)/2, (W+1)/2]`. Stands behind a ReLU.
#[derive(Debug, Default)]
pub(crate) struct MaxPool {
    target: Option<Target>,
}

impl MaxPool {
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        let fused = match self.target {
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
        x.linear(&self.weight, Some(&self.bias))
    }

    /// Makes the layer ready for inference on `target`, for good.
    pub(crate) fn prepare(&mut self, target: Target) {
        for tensor in [&mut self.weight, &mut self.bias] {
            *tensor = tensor.detach().to_device(target.device).to_kind(target.precision.kind());
        }
    }
}
