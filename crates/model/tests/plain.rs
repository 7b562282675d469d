//! Plain networks compared with the residual networks of the same layers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use lookout_config::{Device, Precision};
use lookout_model::{Network, Target, random_values};
use tch::Tensor;

const PAIRS: [(&str, &str); 2] = [("plain18", "resnet18"), ("plain34", "resnet34")];
const CLASSES: i64 = 4;

fn network(arch: &str) -> Network {
    let mut network = Network::new(arch, CLASSES).unwrap();
    network.fill(7);
    network
}

/// Returns the logits of a prepared network for two small images, `[2, CLASSES]`.
fn logits(network: Network) -> Tensor {
    let images = random_values("pictures", 7, &[2, 3, 32, 48], -2.0..2.0);
    let target = Target::choose(Device::Cpu, Precision::Fp32).unwrap();
    network.prepare(target).into_classifier().unwrap().forward(&images)
}

/// Returns the largest difference between the logits of the two images.
fn apart(network: Network) -> f64 {
    let logits = logits(network);
    (logits.get(0) - logits.get(1)).abs().max().double_value(&[])
}

#[test]
fn plain_parameters_equal_resnet_without_projections() {
    let shapes = |arch: &str| -> BTreeMap<String, Vec<i64>> {
        network(arch).tensors().into_iter().map(|(name, tensor)| (name, tensor.size())).collect()
    };
    for (plain, residual) in PAIRS {
        let mut expected = shapes(residual);
        let all = expected.len();
        expected.retain(|name, _| !name.contains(".downsample."));
        // Each of the three projections has a weight, and the norm's weight, bias, mean and variance.
        assert_eq!(all - expected.len(), 3 * 5);
        assert_eq!(shapes(plain), expected);
        assert_eq!(expected["layer2.0.conv1.weight"], [128, 64, 3, 3]);
    }
}

#[test]
fn small_images_have_logits() {
    for (plain, _) in PAIRS {
        let logits = logits(network(plain));
        assert_eq!(logits.size(), [2, CLASSES]);
        assert!(logits.isfinite().all().int64_value(&[]) == 1, "{plain}");
    }
}

/// A residual block whose layers output zero is the identity (section 3.1 of the paper); a plain block then
/// blocks its input.
#[test]
fn only_residual_networks_pass_the_input_through_zero_blocks() {
    for (plain, residual) in PAIRS {
        for (arch, sees) in [(plain, false), (residual, true)] {
            let network = network(arch);
            for (name, tensor) in network.tensors() {
                if name.starts_with("layer") && name.contains(".bn") && !name.contains("running") {
                    tch::no_grad(|| drop(tensor.shallow_clone().zero_()));
                }
            }
            let apart = apart(network);
            assert_eq!(apart > 1e-3, sees, "{arch}: {apart}");
        }
    }
}
