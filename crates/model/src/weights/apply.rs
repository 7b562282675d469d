//! Copies a state dict into a network.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use super::{Misfit, Misshapen, StateDict, WeightsError};

/// A batch norm's counter of training batches. A trained network does not use it, and files from before torch
/// 0.4 lack it.
const UNNEEDED: &str = "num_batches_tracked";

/// Copies a state dict into a network's tensors, in place and outside of autograd.
///
/// Every name must exist on both sides with the same size, except `num_batches_tracked`, which only training
/// uses and which either side may lack. Floating-point tensors are converted to the network's dtype; other
/// dtypes must be equal.
///
/// # Errors
///
/// [`Misfit`] with all mismatches; in this case nothing was copied. [`WeightsError::Copy`] if libtorch fails to
/// copy a tensor.
#[expect(clippy::needless_pass_by_value, reason = "the state dict's memory is freed after the copy")]
pub fn apply(own: &BTreeMap<String, Tensor>, from: StateDict) -> Result<(), WeightsError> {
    let misfit = misfit(own, &from);
    if !misfit.is_empty() {
        return Err(misfit.into());
    }
    tch::no_grad(|| {
        for (name, tensor) in &from.tensors {
            // A second handle to the same memory, because libtorch's copy requires a mutable one.
            let Some(mut target) = own.get(name).map(Tensor::shallow_clone) else {
                continue;
            };
            target.f_copy_(tensor).map_err(|source| WeightsError::Copy { name: name.clone(), source })?;
        }
        Ok(())
    })
}

fn misfit(own: &BTreeMap<String, Tensor>, from: &StateDict) -> Misfit {
    let needed = |name: &&String| name.rsplit('.').next() != Some(UNNEEDED);
    let missing = own.keys().filter(|name| !from.tensors.contains_key(*name)).filter(needed);
    let unexpected = from.tensors.keys().filter(|name| !own.contains_key(*name)).filter(needed);
    let both = own.iter().filter_map(|(name, own)| Some((name, own, from.tensors.get(name)?)));
    let misshapen =
        both.filter(|(_, own, from)| own.size() != from.size() || !converts(from.kind(), own.kind()));
    Misfit {
        missing: missing.cloned().collect(),
        unexpected: unexpected.cloned().collect(),
        misshapen: misshapen
            .map(|(name, own, from)| Misshapen {
                name: name.clone(),
                expected: described(own),
                found: described(from),
            })
            .collect(),
    }
}

fn converts(from: Kind, to: Kind) -> bool {
    let float = |kind| matches!(kind, Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16);
    from == to || (float(from) && float(to))
}

fn described(tensor: &Tensor) -> String {
    format!("{:?} {:?}", tensor.size(), tensor.kind())
}
