//! Pretrained weights as a start, and the parts of a network that are not trained.

use lookout_model::{ModelError, Network, weights::StateDict};

/// Loads the state dict of a whole network. Layers that depend on the number of classes keep their values if their
/// sizes differ.
pub(super) fn load_pretrained(network: &mut Network, mut state: StateDict) -> Result<(), ModelError> {
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
    fn class_layers_are_reset_and_frozen_stages_are_kept() {
        let state = |classes| {
            let mut network = Network::new("resnet18", classes).unwrap();
            network.fill(1);
            StateDict { tensors: network.tensors(), digest: String::new() }
        };
        let mut network = Network::new("resnet18", 7).unwrap();
        load_pretrained(&mut network, state(1000)).unwrap();
        assert_eq!(network.tensors()["fc.bias"].abs().max().double_value(&[]), 0.0);
        assert_eq!(network.tensors()["conv1.weight"], state(7).tensors["conv1.weight"]);
        freeze(&network, 2);
        let trained = |name: &str| network.tensors()[name].requires_grad();
        assert!(
            !trained("conv1.weight") && !trained("layer1.1.bn2.bias") && trained("layer2.0.conv1.weight")
        );
    }
}
