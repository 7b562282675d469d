//! Initial weights: torchvision's distributions, drawn from a seed, then pretrained weights.

use std::collections::BTreeMap;

use lookout_model::{ModelError, Network, random_values, weights::StateDict};
use tch::{Kind, Tensor};

/// The initial probability that a dense detector gives to each class. A low value keeps the many background anchors
/// from dominating the loss at the start (RetinaNet's paper, section 4.1).
const PRIOR: f64 = 0.01;

/// The initial values of a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Initial {
    Is(f64),
    /// A normal distribution with mean 0 and this standard deviation.
    Normal(f64),
    /// A uniform distribution from minus this value to this value.
    Uniform(f64),
}

/// Initializes every tensor of a network as torchvision does. The same seed always gives the same values.
pub(super) fn initialize(network: &Network, seed: u64) {
    let tensors = network.tensors();
    tch::no_grad(|| {
        for (name, tensor) in &tensors {
            let mut tensor = tensor.shallow_clone();
            let size = tensor.size();
            match initial(name, &tensors) {
                Initial::Is(number) => drop(tensor.fill_(number)),
                Initial::Uniform(bound) => tensor.copy_(&random_values(name, seed, &size, -bound..bound)),
                Initial::Normal(std) => tensor.copy_(&(normal(name, seed, &size) * std)),
            }
        }
    });
}

fn initial(name: &str, tensors: &BTreeMap<String, Tensor>) -> Initial {
    let (layer, last) = name.rsplit_once('.').unwrap_or(("", name));
    // The size of the layer's weight, since the bound of a bias depends on the fan-in of its weight.
    let weight = tensors.get(&format!("{layer}.weight")).map(Tensor::size).unwrap_or_default();
    let fan_in = weight.iter().skip(1).product::<i64>().max(1) as f64;
    let fan_out = (weight.first().unwrap_or(&1) * weight.iter().skip(2).product::<i64>()).max(1) as f64;
    match (last, weight.len()) {
        ("running_var", _) | ("weight", 1) => Initial::Is(1.0),
        ("weight" | "bias", 2) => Initial::Uniform(1.0 / fan_in.sqrt()),
        ("bias", 4) if layer == "head.classification_head.cls_logits" => {
            Initial::Is(-((1.0 - PRIOR) / PRIOR).ln())
        }
        ("weight", 4) if name.starts_with("backbone.fpn.") => Initial::Uniform((3.0 / fan_in).sqrt()),
        ("weight", 4) if name.starts_with("head.") || name.starts_with("rpn.") => Initial::Normal(0.01),
        ("weight", 4) => Initial::Normal((2.0 / fan_out).sqrt()),
        _ => Initial::Is(0.0),
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

/// Loads the state dict of a whole network. Layers that depend on the number of classes keep their values if their
/// sizes differ.
pub(super) fn take_whole(network: &mut Network, mut state: StateDict) -> Result<(), ModelError> {
    for (name, own) in network.tensors() {
        let other = state.tensors.get(&name).is_some_and(|there| there.size() != own.size());
        if other && network.arch().layout.is_of_class_layer(&name) {
            state.tensors.insert(name, own.detach().copy());
        }
    }
    network.load(state)
}

/// Makes the weights and biases of the backbone trainable, including those of its frozen batch norms. The first
/// detector designs freeze them, which is of no use without pretrained weights (torchvision then uses plain batch
/// norms).
pub fn unfreeze_norms(network: &Network) {
    let layout = network.arch().layout;
    for (name, tensor) in network.tensors() {
        let is_parameter = name.ends_with(".weight") || name.ends_with(".bias");
        if is_parameter && layout.name_in_backbone(&name).is_some() {
            let _ = tensor.set_requires_grad(true);
        }
    }
}

/// Freezes the first `parts` parts of the backbone: the stem, then the stages.
pub(super) fn freeze(network: &Network, parts: usize) {
    let layout = network.arch().layout;
    for (name, tensor) in network.tensors() {
        let Some(body) = layout.name_in_backbone(&name) else { continue };
        let part = match body.split_once('.').map(|(layer, _)| layer) {
            Some("conv1" | "bn1") => 0,
            Some(layer) => match layer.strip_prefix("layer").and_then(|stage| stage.parse::<usize>().ok()) {
                Some(stage) => stage,
                None => continue,
            },
            None => continue,
        };
        if part < parts {
            let _ = tensor.set_requires_grad(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initialization_matches_torchvision() {
        let network = Network::new("fcos_resnet50_fpn", 4).unwrap();
        initialize(&network, 3);
        let tensors = network.tensors();
        let std = |name: &str| tensors[name].std(true).double_value(&[]);
        assert!((std("backbone.body.layer1.0.conv2.weight") - (2.0_f64 / 576.0).sqrt()).abs() < 1e-3);
        assert!((std("head.regression_head.conv.0.weight") - 0.01).abs() < 1e-4);
        assert!((std("backbone.fpn.inner_blocks.0.0.weight") - (1.0_f64 / 512.0).sqrt()).abs() < 1e-3);
        let bias = tensors["head.classification_head.cls_logits.bias"].mean(Kind::Float).double_value(&[]);
        assert!((bias + 4.595).abs() < 1e-3, "{bias}");
        let again = Network::new("fcos_resnet50_fpn", 4).unwrap();
        initialize(&again, 3);
        assert!(again.tensors().iter().all(|(name, tensor)| *tensor == tensors[name]));
    }

    #[test]
    fn class_layers_are_reset_and_frozen_stages_are_kept() {
        let state = |classes| {
            let mut network = Network::new("resnet18", classes).unwrap();
            network.fill(1);
            StateDict { tensors: network.tensors(), digest: String::new() }
        };
        let mut network = Network::new("resnet18", 7).unwrap();
        take_whole(&mut network, state(1000)).unwrap();
        assert_eq!(network.tensors()["fc.bias"].abs().max().double_value(&[]), 0.0);
        assert_eq!(network.tensors()["conv1.weight"], state(7).tensors["conv1.weight"]);
        freeze(&network, 2);
        let trained = |name: &str| network.tensors()[name].requires_grad();
        assert!(
            !trained("conv1.weight") && !trained("layer1.1.bn2.bias") && trained("layer2.0.conv1.weight")
        );
    }
}
