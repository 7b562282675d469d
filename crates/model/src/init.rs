//! Initial values of the parameters for training: torchvision's distributions, drawn from a seed and the tensor's name.

use tch::{Kind, Tensor};

use crate::random::random_values;

/// The distribution of a tensor's initial values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Init {
    /// A normal distribution with mean 0.
    Normal { std: f64 },
    /// A uniform distribution from `-bound` to `bound`.
    Uniform { bound: f64 },
    /// A normal distribution with mean 0 and variance `2 / fan_out`, for layers before a ReLU (He, Zhang, Ren and Sun
    /// 2015, <https://arxiv.org/abs/1502.01852>, equation 14); torch's `kaiming_normal_(mode="fan_out")`.
    KaimingNormal,
    /// A uniform distribution with variance `1 / fan_in`, for layers without a ReLU; torch's `kaiming_uniform_(a=1)`.
    KaimingUniform,
}

impl Init {
    /// Sets `tensor`, a weight `[out, in, ...]` or a bias, to values that depend only on its `name` and on `seed`.
    pub(crate) fn fill(self, tensor: &Tensor, name: &str, seed: u64) {
        let size = tensor.size();
        let fan_in = size.iter().skip(1).product::<i64>().max(1) as f64;
        let fan_out = (size.first().unwrap_or(&1) * size.iter().skip(2).product::<i64>()).max(1) as f64;
        let uniform = |bound: f64| random_values(name, seed, &size, -bound..bound);
        let values = match self {
            Self::Normal { std } => normal(name, seed, &size) * std,
            Self::Uniform { bound } => uniform(bound),
            Self::KaimingNormal => normal(name, seed, &size) * (2.0 / fan_out).sqrt(),
            Self::KaimingUniform => uniform((3.0 / fan_in).sqrt()),
        };
        tch::no_grad(|| tensor.shallow_clone().copy_(&values));
    }
}

/// Draws from the standard normal distribution (Box and Muller 1958).
fn normal(name: &str, seed: u64, size: &[i64]) -> Tensor {
    let one = |part: &str| {
        // The lower bound is above zero because the logarithm of zero is infinite.
        random_values(&format!("{name}/{part}"), seed, size, 6e-8..1.0).to_kind(Kind::Double)
    };
    let radius = (one("radius").log() * -2.0).sqrt();
    (radius * (one("angle") * std::f64::consts::TAU).cos()).to_kind(Kind::Float)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Network;

    #[test]
    fn initialization_matches_torchvision() {
        let mut network = Network::new("fcos_resnet50_fpn", 4).unwrap();
        network.reset_parameters(3);
        let tensors = network.tensors();
        let std = |name: &str| tensors[name].std(true).double_value(&[]);
        assert!((std("backbone.body.layer1.0.conv2.weight") - (2.0_f64 / 576.0).sqrt()).abs() < 1e-3);
        assert!((std("head.regression_head.conv.0.weight") - 0.01).abs() < 1e-4);
        assert!((std("backbone.fpn.inner_blocks.0.0.weight") - (1.0_f64 / 512.0).sqrt()).abs() < 1e-3);
        let bias = tensors["head.classification_head.cls_logits.bias"].mean(Kind::Float).double_value(&[]);
        assert!((bias + 4.595).abs() < 1e-3, "{bias}");
        let mut again = Network::new("fcos_resnet50_fpn", 4).unwrap();
        again.reset_parameters(3);
        assert!(again.tensors().iter().all(|(name, tensor)| *tensor == tensors[name]));
    }
}
