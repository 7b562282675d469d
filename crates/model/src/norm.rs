//! What stands between a convolution and its activation.

use tch::{Kind, Tensor, nn};

use crate::target::Target;

/// Keeps a norm from dividing by zero.
pub(crate) const EPS: f64 = 1e-5;

/// How much of a batch's own statistics goes into the running ones.
const MOMENTUM: f64 = 0.1;

/// In how many groups a group norm divides the channels: Wu and He's choice, and torchvision's.
const GROUPS: i64 = 32;

/// Which norm follows a convolution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum NormKind {
    None,
    /// Ioffe and Szegedy 2015.
    Batch,
    /// A batch norm that training leaves as it is.
    FrozenBatch {
        eps: f64,
    },
    /// Wu and He 2018. It depends on the picture, so that no convolution can take it over.
    Group,
}

/// A norm with its parameters, which a clone shares.
#[derive(Debug, Clone)]
pub(crate) enum Norm {
    None,
    Batch(BatchNorm),
    Group(GroupNorm),
}

#[derive(Debug)]
pub(crate) struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    eps: f64,
}

#[derive(Debug)]
pub(crate) struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
}

impl Clone for BatchNorm {
    fn clone(&self) -> Self {
        Self {
            weight: self.weight.shallow_clone(),
            bias: self.bias.shallow_clone(),
            running_mean: self.running_mean.shallow_clone(),
            running_var: self.running_var.shallow_clone(),
            eps: self.eps,
        }
    }
}

impl Clone for GroupNorm {
    fn clone(&self) -> Self {
        Self { weight: self.weight.shallow_clone(), bias: self.bias.shallow_clone() }
    }
}

impl Norm {
    /// Parameters `weight` and `bias`, and of a batch norm `running_mean` and `running_var`, all
    /// `[channels]`.
    pub(crate) fn new(path: &nn::Path<'_>, kind: NormKind, channels: i64) -> Self {
        let size = [channels];
        let (eps, frozen) = match kind {
            NormKind::None => return Self::None,
            NormKind::Group => {
                return Self::Group(GroupNorm {
                    weight: path.ones("weight", &size),
                    bias: path.zeros("bias", &size),
                });
            }
            NormKind::Batch => (EPS, false),
            NormKind::FrozenBatch { eps } => (eps, true),
        };
        let (weight, bias) = if frozen {
            (path.ones_no_train("weight", &size), path.zeros_no_train("bias", &size))
        } else {
            (path.ones("weight", &size), path.zeros("bias", &size))
        };
        Self::Batch(BatchNorm {
            weight,
            bias,
            running_mean: path.zeros_no_train("running_mean", &size),
            running_var: path.ones_no_train("running_var", &size),
            eps,
        })
    }

    /// `[N, channels, H, W]` to the same. `train` has a batch norm whose weight is trained take the batch's own
    /// statistics.
    ///
    /// # Panics
    /// In training, where a channel has one value: it has no variance, and the running one would become NaN. torch's
    /// `batch_norm` refuses it with the same words; libtorch's, which this calls, does not.
    pub(crate) fn forward(&self, x: Tensor, train: bool) -> Tensor {
        match self {
            Self::None => x,
            Self::Batch(norm) => {
                let train = train && norm.weight.requires_grad();
                assert!(
                    !train || values_per_channel(&x) > 1,
                    "expected more than 1 value per channel when training, and a batch norm's input is {:?}; take a \
                     larger `batch` or `input`",
                    x.size()
                );
                x.batch_norm(
                    Some(&norm.weight),
                    Some(&norm.bias),
                    Some(&norm.running_mean),
                    Some(&norm.running_var),
                    train,
                    MOMENTUM,
                    norm.eps,
                    true,
                )
            }
            Self::Group(norm) => norm.forward(&x),
        }
    }
}

fn values_per_channel(x: &Tensor) -> i64 {
    match x.size()[..] {
        [n, _, ref rest @ ..] => n * rest.iter().product::<i64>(),
        _ => 0,
    }
}

impl GroupNorm {
    pub(crate) fn forward(&self, x: &Tensor) -> Tensor {
        // libtorch has the two in one type only, on a GPU.
        let (from, kind) = (x.kind(), self.weight.kind());
        let x = x.to_kind(kind).group_norm(GROUPS, Some(&self.weight), Some(&self.bias), EPS, true);
        x.to_kind(from)
    }

    /// The same norm for inference on `target`.
    pub(crate) fn prepared(&self, target: Target) -> Self {
        let convert =
            |tensor: &Tensor| tensor.detach().to_device(target.device).to_kind(target.precision.kind());
        Self { weight: convert(&self.weight), bias: convert(&self.bias) }
    }
}

impl BatchNorm {
    /// The weight `[K, C, kh, kw]` and bias `[K]` of the convolution that does what this one and the norm
    /// do in inference: `gamma * (w * x + b - mean) / sqrt(var + eps) + beta`. In double precision, so that
    /// folding costs nothing that fp32 can show.
    pub(crate) fn folded(&self, weight: &Tensor, bias: &Tensor) -> (Tensor, Tensor) {
        let double = |tensor: &Tensor| tensor.detach().to_kind(Kind::Double);
        let scale = double(&self.weight) / (double(&self.running_var) + self.eps).sqrt();
        let bias = (double(bias) - double(&self.running_mean)) * &scale + double(&self.bias);
        let weight = double(weight) * scale.view([-1, 1, 1, 1]); // [K, C, kh, kw]
        (weight.to_kind(Kind::Float), bias.to_kind(Kind::Float))
    }
}
