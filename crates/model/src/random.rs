//! Weights from a seed, the same in every language: for benchmarks and tests, where what the labels say
//! does not matter. `tests/goldens/hash_fill.py` has the same in Python.

use std::{collections::BTreeMap, ops::Range};

use tch::Tensor;

/// Fills each tensor from the hash of its name and `seed`, within bounds by which activations keep their
/// size through any depth, and a detector's scores lie on both sides of its threshold:
///
/// | tensor | uniform in |
/// |---|---|
/// | weights of two and more dimensions | ±sqrt(6 / fan-in) |
/// | those that name a detector's classes | three times, of Faster R-CNN six times as wide |
/// | a norm's `weight` | 0.2 to 0.4; on a detector's backbone 0.5 to 1 |
/// | `running_var` | 0.5 to 1.5 |
/// | the bias of a dense detector's classes | -7.1 to -6.9 |
/// | all others | ±0.1 |
pub(crate) fn fill(tensors: &BTreeMap<String, Tensor>, seed: u64) {
    tch::no_grad(|| {
        for (name, tensor) in tensors {
            let (low, high) = bounds(name, &tensor.size());
            tensor.shallow_clone().copy_(&random_values(name, seed, &tensor.size(), low..high));
        }
    });
}

/// A tensor of `size` in fp32 on the CPU, from the hash of its name and `seed`, evenly within `range`.
pub fn random_values(name: &str, seed: u64, size: &[i64], range: Range<f64>) -> Tensor {
    let start = fnv1a(name) ^ seed.wrapping_mul(GAMMA);
    let numel: i64 = size.iter().product();
    let value = |i| {
        // 24 bits are all that an f32 in [0, 1) can tell apart.
        let unit = (splitmix64(start, i) >> 40) as f64 / f64::from(1 << 24);
        (range.start + (range.end - range.start) * unit) as f32
    };
    let values: Vec<f32> = (0..numel.unsigned_abs()).map(value).collect();
    Tensor::from_slice(&values).view(size)
}

fn bounds(name: &str, size: &[i64]) -> (f64, f64) {
    let (layer, last) = name.rsplit_once('.').unwrap_or(("", name));
    let head = HEADS.iter().any(|head| name.starts_with(head));
    match last {
        "running_var" => (0.5, 1.5),
        "weight" if size.len() == 1 && head => (0.5, 1.0),
        "weight" if size.len() == 1 => (0.2, 0.4),
        "weight" => {
            let fan_in: i64 = size[1..].iter().product();
            let wider = match layer {
                DENSE_CLASSES => 3.0,
                ROI_CLASSES => 6.0,
                _ => 1.0,
            };
            let bound = (6.0 / fan_in.max(1) as f64).sqrt() * wider;
            (-bound, bound)
        }
        "bias" if layer == DENSE_CLASSES => (-7.1, -6.9),
        _ => (-0.1, 0.1),
    }
}

/// What stands on a detector's backbone.
const HEADS: [&str; 4] = ["backbone.fpn.", "head.", "rpn.", "roi_heads."];

/// The layers that name classes.
const DENSE_CLASSES: &str = "head.classification_head.cls_logits";
const ROI_CLASSES: &str = "roi_heads.box_predictor.cls_score";

/// The 64-bit golden ratio, SplitMix64's step.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// The `i`-th number after `start` (Steele, Lea and Flood 2014, Fast Splittable Pseudorandom Number
/// Generators, figure 17).
fn splitmix64(start: u64, i: u64) -> u64 {
    let z = start.wrapping_add((i + 1).wrapping_mul(GAMMA));
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// FNV-1a of 64 bits (Fowler, Noll and Vo).
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_published_ones() {
        // The reference implementations' first numbers.
        assert_eq!(splitmix64(0, 0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(fnv1a("a"), 0xaf63_dc4c_8601_ec8c);
    }
}
