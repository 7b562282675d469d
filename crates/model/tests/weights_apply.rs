//! Copying state dicts into a network's tensors.

use std::collections::BTreeMap;

use lookout_model::weights::{Misfit, StateDict, WeightsError, apply};
use tch::{Device, Kind, Tensor};

fn own(tensors: &[(&str, &[i64], Kind)]) -> BTreeMap<String, Tensor> {
    let zeros = |size: &[i64], kind| Tensor::zeros(size, (kind, Device::Cpu));
    tensors.iter().map(|(name, size, kind)| ((*name).to_owned(), zeros(size, *kind))).collect()
}

fn from(tensors: &[(&str, &[i64], Kind)]) -> StateDict {
    let ones = |size: &[i64], kind| Tensor::ones(size, (kind, Device::Cpu));
    let tensors = tensors.iter().map(|(name, size, kind)| ((*name).to_owned(), ones(size, *kind)));
    StateDict { tensors: tensors.collect(), digest: String::new() }
}

fn misfit(own: &BTreeMap<String, Tensor>, from: StateDict) -> Misfit {
    match apply(own, from) {
        Err(WeightsError::Misfit(misfit)) => misfit,
        other => panic!("{other:?}"),
    }
}

#[test]
fn tensors_are_copied_in_place_and_converted() {
    let network = own(&[("conv.weight", &[2, 3], Kind::Float), ("conv.bias", &[2], Kind::BFloat16)]);
    let held = network["conv.weight"].set_requires_grad(true);
    let weights = from(&[("conv.weight", &[2, 3], Kind::Half), ("conv.bias", &[2], Kind::Double)]);
    apply(&network, weights).unwrap();
    assert_eq!(held.sum(Kind::Double).double_value(&[]), 6.0, "the copy is not in the network's own memory");
    assert!(held.requires_grad() && held.is_leaf(), "autograd tracks the copy");
    assert_eq!(network["conv.weight"].kind(), Kind::Float);
    assert_eq!(network["conv.bias"].kind(), Kind::BFloat16);
    assert_eq!(network["conv.bias"].sum(Kind::Double).double_value(&[]), 2.0);
}

#[test]
fn all_mismatches_are_listed_and_nothing_is_copied() {
    let network = own(&[
        ("a", &[2, 3], Kind::Float),
        ("b", &[4], Kind::Float),
        ("count", &[1], Kind::Int64),
        ("fits", &[1], Kind::Float),
    ]);
    let weights = from(&[
        ("a", &[3, 2], Kind::Float),
        ("count", &[1], Kind::Float),
        ("fits", &[1], Kind::Float),
        ("stranger", &[1], Kind::Float),
    ]);
    let misfit = misfit(&network, weights);
    assert_eq!(
        misfit.to_string(),
        "the weights do not fit the network; 1 missing: b; 1 unexpected: stranger; 2 mismatched: \
         a (the network has [2, 3] Float, the file [3, 2] Float), \
         count (the network has [1] Int64, the file [1] Float)"
    );
    assert_eq!(network["fits"].double_value(&[0]), 0.0);
}

#[test]
fn long_lists_are_shortened_with_their_count() {
    let names: Vec<String> = (0..25).map(|index| format!("layer{index:02}")).collect();
    let tensors: Vec<(&str, &[i64], Kind)> =
        names.iter().map(|name| (name.as_str(), &[1_i64][..], Kind::Float)).collect();
    let misfit = misfit(&own(&tensors), from(&[]));
    assert_eq!(misfit.missing, names);
    let text = misfit.to_string();
    assert!(text.contains("25 missing: layer00, "), "{text}");
    assert!(text.ends_with("layer09 and 15 more"), "{text}");
}

#[test]
fn num_batches_tracked_is_optional() {
    let with: [(&str, &[i64], Kind); 2] =
        [("bn.weight", &[1], Kind::Float), ("bn.num_batches_tracked", &[], Kind::Int64)];
    apply(&own(&with), from(&with[..1])).unwrap();
    apply(&own(&with[..1]), from(&with)).unwrap();
    let network = own(&with);
    apply(&network, from(&with)).unwrap();
    assert_eq!(
        network["bn.num_batches_tracked"].int64_value(&[]),
        1,
        "it is not copied although both have it"
    );
}
