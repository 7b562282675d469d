//! Weights quantized to eight bits, at a quarter of their fp32 size. Each layer's weight is stored as integers
//! between -127 and 127, and the tensor `NAME.scale` holds the scale of each output channel. Only the file is
//! small: networks compute in their usual dtype. The quantization is symmetric and per channel: Nagel et al., A
//! White Paper on Neural Network Quantization, 2021, section 2.2. <https://arxiv.org/abs/2106.08295>

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use super::{FormatError, StateDict};

/// Suffix of the name of a tensor's scales.
const SCALE: &str = ".scale";

/// Largest absolute value of a quantized number.
const MOST: f64 = 127.0;

impl StateDict {
    /// Returns a copy with the weights of all layers quantized to eight bits. Norms, biases and tensors that
    /// cannot be scaled are kept as they are.
    #[must_use]
    pub fn in_eight_bits(&self) -> Self {
        let mut tensors = BTreeMap::new();
        for (name, tensor) in &self.tensors {
            match compressed(tensor) {
                Some((numbers, scale)) => {
                    tensors.insert(format!("{name}{SCALE}"), scale);
                    tensors.insert(name.clone(), numbers);
                }
                None => drop(tensors.insert(name.clone(), tensor.shallow_clone())),
            }
        }
        Self { tensors, digest: self.digest.clone() }
    }
}

/// Returns the tensor quantized to Int8, and one scale for each index of its first dimension. Returns `None`
/// for tensors that cannot be quantized.
fn compressed(tensor: &Tensor) -> Option<(Tensor, Tensor)> {
    if tensor.dim() < 2 || !tensor.is_floating_point() || tensor.numel() == 0 {
        return None;
    }
    let tensor = tensor.detach().to_kind(Kind::Float);
    let most = tensor.abs().flatten(1, -1).amax([1], false); // [outputs]
    if !f64::try_from(most.sum(Kind::Double)).is_ok_and(f64::is_finite) {
        return None;
    }
    let scale = most / MOST;
    // The scale of a row of zeros is 0, so it is clamped to avoid a division by 0.
    let numbers =
        (tensor.divide(&over_rows(&scale.clamp_min(f64::from(f32::MIN_POSITIVE)), &tensor))).round();
    Some((numbers.clamp(-MOST, MOST).to_kind(Kind::Int8), scale))
}

/// Dequantizes all eight-bit weights in place.
pub(super) fn expand(tensors: &mut BTreeMap<String, Tensor>) -> Result<(), FormatError> {
    let kept: Vec<String> = tensors
        .iter()
        .filter(|(name, tensor)| {
            tensor.kind() == Kind::Int8 && tensors.contains_key(&format!("{name}{SCALE}"))
        })
        .map(|(name, _)| name.clone())
        .collect();
    for name in kept {
        let (Some(numbers), Some(scale)) = (tensors.remove(&name), tensors.remove(&format!("{name}{SCALE}")))
        else {
            continue;
        };
        if numbers.dim() < 2 || scale.size() != numbers.size()[..1] || scale.kind() != Kind::Float {
            return Err(FormatError::tensor(
                &name,
                "its scales are not one fp32 number for each of its outputs",
            ));
        }
        let whole = numbers.to_kind(Kind::Float) * over_rows(&scale, &numbers);
        tensors.insert(name, whole);
    }
    Ok(())
}

/// Reshapes `[outputs]` to `[outputs, 1, ...]`, so that it broadcasts over each row of `like`.
fn over_rows(scale: &Tensor, like: &Tensor) -> Tensor {
    let mut size = vec![1; like.dim()];
    size[0] = -1;
    scale.view(size.as_slice())
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn state(tensors: &[(&str, Tensor)]) -> StateDict {
        let tensors =
            tensors.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.shallow_clone())).collect();
        StateDict { tensors, digest: "sha256:0".into() }
    }

    #[test]
    fn int8_round_trip_error_is_at_most_half_a_step() {
        let weight = Tensor::randn([5, 3, 3, 3], (Kind::Float, Device::Cpu))
            * Tensor::from_slice(&[1e-6_f32, 1.0, 50.0, 0.0, 3.0]).view([5, 1, 1, 1]);
        let bias = Tensor::randn([5], (Kind::Float, Device::Cpu));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("small.safetensors");
        state(&[("a.weight", weight.shallow_clone()), ("a.bias", bias.shallow_clone())])
            .in_eight_bits()
            .write_safetensors(&path)
            .unwrap();
        let back = super::super::read(&path).unwrap().tensors;
        assert_eq!(back.keys().collect::<Vec<_>>(), ["a.bias", "a.weight"]);
        assert_eq!(back["a.bias"], bias);
        let off = (&back["a.weight"] - &weight).abs().amax([1, 2, 3], false);
        let step = weight.abs().amax([1, 2, 3], false) / MOST;
        assert!(bool::try_from((off - step * 0.501).le(0.0).all()).unwrap());
    }

    #[test]
    fn tensors_without_a_scale_are_unchanged() {
        let infinite = Tensor::from_slice(&[1.0_f32, f32::INFINITY]).view([1, 2]);
        let whole = Tensor::from_slice(&[1_i64, 2]).view([1, 2]);
        let same = state(&[("a", infinite), ("b", whole)]).in_eight_bits();
        assert_eq!(same.tensors.keys().collect::<Vec<_>>(), ["a", "b"]);
        let mut alone = BTreeMap::from([("a".to_owned(), Tensor::from_slice(&[1_i8, 2]).view([1, 2]))]);
        expand(&mut alone).unwrap();
        assert_eq!(alone["a"].kind(), Kind::Int8);
    }

    #[test]
    fn scales_of_wrong_shape_are_an_error() {
        for scale in [Tensor::from_slice(&[1.0_f32, 2.0]), Tensor::from_slice(&[1_i64])] {
            let numbers = Tensor::from_slice(&[1_i8, 2]).view([1, 2]);
            let mut tensors = BTreeMap::from([("a".to_owned(), numbers), ("a.scale".to_owned(), scale)]);
            let error = expand(&mut tensors).unwrap_err().to_string();
            assert!(error.contains("one fp32 number for each"), "{error}");
        }
    }
}
