//! Normalization layers, which follow a convolution and precede its activation.

use tch::{Kind, Tensor, nn};

use crate::target::Target;

/// Added to the variance, so that a norm does not divide by zero.
pub(crate) const EPS: f64 = 1e-5;

/// Batch-norm momentum: the weight of the batch's statistics in the update of the running statistics.
const MOMENTUM: f64 = 0.1;

/// Number of groups of a group norm, as in Wu and He 2018 and in torchvision.
const GROUPS: i64 = 32;

/// The kind of norm that follows a convolution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum NormKind {
    None,
    /// Batch norm, Ioffe and Szegedy 2015.
    Batch,
    /// A batch norm with fixed parameters and running statistics.
    FrozenBatch {
        eps: f64,
    },
    /// Group norm, Wu and He 2018. Its statistics depend on the image, so that it cannot be folded into a convolution.
    Group,
}

/// A norm with its parameters. A clone shares them.
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
    /// Creates the parameters `weight` and `bias`, and for a batch norm also `running_mean` and `running_var`, all
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

    /// Sets the parameters and the running statistics to their initial values, with which a norm only normalizes.
    pub(crate) fn reset_parameters(&self) {
        let fill = |tensor: &Tensor, value: f64| drop(tensor.shallow_clone().fill_(value));
        tch::no_grad(|| match self {
            Self::None => (),
            Self::Batch(norm) => {
                fill(&norm.weight, 1.0);
                fill(&norm.bias, 0.0);
                fill(&norm.running_mean, 0.0);
                fill(&norm.running_var, 1.0);
            }
            Self::Group(norm) => {
                fill(&norm.weight, 1.0);
                fill(&norm.bias, 0.0);
            }
        });
    }

    /// Normalizes `[N, channels, H, W]`.
    ///
    /// A batch norm with a trainable weight uses the batch's statistics, and updates its running ones.
    ///
    /// # Panics
    /// Panics if a channel of a trainable batch norm has only one value: its variance is undefined, and the running
    /// variance would become NaN. torch's Python `batch_norm` rejects such an input with the same words; the libtorch
    /// function that is called here does not.
    pub(crate) fn forward(&self, x: Tensor) -> Tensor {
        match self {
            Self::None => x,
            Self::Batch(norm) => {
                let train = norm.weight.requires_grad();
                assert!(
                    !train || values_per_channel(&x) > 1,
                    "expected more than 1 value per channel when training, and a batch norm's input is {:?}; use a \
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
        // On a GPU, libtorch's `group_norm` requires input and weight to have the same dtype.
        let (from, kind) = (x.kind(), self.weight.kind());
        let x = x.to_kind(kind).group_norm(GROUPS, Some(&self.weight), Some(&self.bias), EPS, true);
        x.to_kind(from)
    }

    /// Returns the same norm for inference on `target`.
    pub(crate) fn prepared(&self, target: Target) -> Self {
        let convert =
            |tensor: &Tensor| tensor.detach().to_device(target.device).to_kind(target.precision.kind());
        Self { weight: convert(&self.weight), bias: convert(&self.bias) }
    }
}

impl BatchNorm {
    /// Folds the norm into the preceding convolution, for inference.
    ///
    /// Returns the weight `[K, C, kh, kw]` and the bias `[K]` of a convolution that computes
    /// `gamma * (w * x + b - mean) / sqrt(var + eps) + beta`. Folds in double precision, so that the rounding error is
    /// not visible in fp32.
    pub(crate) fn folded(&self, weight: &Tensor, bias: &Tensor) -> (Tensor, Tensor) {
        let double = |tensor: &Tensor| tensor.detach().to_kind(Kind::Double);
        let scale = double(&self.weight) / (double(&self.running_var) + self.eps).sqrt();
        let bias = (double(bias) - double(&self.running_mean)) * &scale + double(&self.bias);
        let weight = double(weight) * scale.view([-1, 1, 1, 1]); // [K, C, kh, kw]
        (weight.to_kind(Kind::Float), bias.to_kind(Kind::Float))
    }
}
