//! Random weights from a seed, identical in every programming language.
//!
//! Benchmarks and tests use them where the network's results do not matter. `tests/goldens/hash_fill.py` is the same
//! algorithm in Python.

use rand_xoshiro::{
    SplitMix64,
    rand_core::{Rng as _, SeedableRng as _},
};
use std::{collections::BTreeMap, ops::Range};

use tch::Tensor;

use crate::weights::Layout;

/// The range of most random biases.
const PLAIN_BIAS: (f64, f64) = (-0.1, 0.1);

/// The distribution of the class logits of a network with random weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ClassLogits {
    /// Factor of the range of the layer's weights.
    spread: f64,
    /// The range of the layer's bias.
    bias: (f64, f64),
}

impl ClassLogits {
    pub(crate) const PLAIN: Self = Self { spread: 1.0, bias: PLAIN_BIAS };
    /// For dense detectors: few of the many anchors have a score above the threshold.
    pub(crate) const DENSE: Self = Self { spread: 3.0, bias: (-7.1, -6.9) };
    /// For the second stage of Faster R-CNN.
    pub(crate) const SECOND_STAGE: Self = Self { spread: 6.0, bias: PLAIN_BIAS };
}

/// Fills each tensor with random values from the hash of its name and `seed`.
///
/// The ranges are chosen so that activations keep their magnitude at any depth, and a detector's scores lie on both
/// sides of its threshold:
///
/// | tensor | uniform in |
/// |---|---|
/// | weights with two or more dimensions | ±sqrt(6 / fan-in) |
/// | weights of a detector's classification layer | three times as wide, or six times for Faster R-CNN |
/// | a norm's `weight` | 0.2 to 0.4; in a detector's layers after the backbone 0.5 to 1 |
/// | `running_var` | 0.5 to 1.5 |
/// | the bias of a dense detector's classification layer | -7.1 to -6.9 |
/// | all others | ±0.1 |
pub(crate) fn fill(
    tensors: &BTreeMap<String, Tensor>,
    seed: u64,
    layout: &Layout,
    class_logits: ClassLogits,
) {
    tch::no_grad(|| {
        for (name, tensor) in tensors {
            let (low, high) = bounds(name, &tensor.size(), layout, class_logits);
            tensor.shallow_clone().copy_(&random_values(name, seed, &tensor.size(), low..high));
        }
    });
}

/// Returns a tensor of `size` in fp32 on the CPU, uniformly distributed in `range`, from the hash of `name` and `seed`.
pub fn random_values(name: &str, seed: u64, size: &[i64], range: Range<f64>) -> Tensor {
    let start = fnv1a(name) ^ seed.wrapping_mul(GAMMA);
    let numel: i64 = size.iter().product();
    let value = |i| {
        // An f32 has a significand of 24 bits.
        let unit = (splitmix64(start, i) >> 40) as f64 / f64::from(1 << 24);
        (range.start + (range.end - range.start) * unit) as f32
    };
    let values: Vec<f32> = (0..numel.unsigned_abs()).map(value).collect();
    Tensor::from_slice(&values).view(size)
}

fn bounds(name: &str, size: &[i64], layout: &Layout, class_logits: ClassLogits) -> (f64, f64) {
    let (layer, last) = name.rsplit_once('.').unwrap_or(("", name));
    let in_backbone = layout.name_in_backbone(name).is_some();
    let is_class_logits = layout.class_logits() == Some(layer);
    match last {
        "running_var" => (0.5, 1.5),
        "weight" if size.len() == 1 && in_backbone => (0.2, 0.4),
        "weight" if size.len() == 1 => (0.5, 1.0),
        "weight" => {
            let fan_in: i64 = size[1..].iter().product();
            let wider = if is_class_logits { class_logits.spread } else { 1.0 };
            let bound = (6.0 / fan_in.max(1) as f64).sqrt() * wider;
            (-bound, bound)
        }
        "bias" if is_class_logits => class_logits.bias,
        _ => PLAIN_BIAS,
    }
}

/// SplitMix64's increment: 2^64 divided by the golden ratio.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// Returns the `i`-th output of SplitMix64 from the state `start`.
///
/// Steele, Lea and Flood 2014, Fast Splittable Pseudorandom Number Generators, figure 17.
fn splitmix64(start: u64, i: u64) -> u64 {
    SplitMix64::seed_from_u64(start.wrapping_add(i.wrapping_mul(GAMMA))).next_u64()
}

/// Returns the 64-bit FNV-1a hash (Fowler, Noll and Vo).
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_functions_match_their_references() {
        // The first outputs of the reference implementations.
        assert_eq!(splitmix64(0, 0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(fnv1a("a"), 0xaf63_dc4c_8601_ec8c);
    }
}
