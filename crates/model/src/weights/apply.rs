//! Copies a state dict into a network.

use std::{collections::BTreeMap, fmt};

use tch::{Kind, Tensor};

use super::{StateDict, WeightsError};

/// Maximum number of names per kind of mismatch in an error text. Their count is always given.
const TOLD: usize = 10;

/// A batch norm's counter of training batches. A trained network does not use it, and files from before torch
/// 0.4 lack it.
const UNNEEDED: &str = "num_batches_tracked";

/// All mismatches between a state dict and a network.
#[derive(Debug, Default, PartialEq, thiserror::Error)]
pub struct Misfit {
    /// Names that the network has and the file lacks.
    pub missing: Vec<String>,
    /// Names that the file has and the network lacks.
    pub unexpected: Vec<String>,
    pub misshapen: Vec<Misshapen>,
}

/// A tensor whose size or dtype in the file differs from that in the network.
#[derive(Debug, PartialEq)]
pub struct Misshapen {
    pub name: String,
    /// Size and dtype in the network, such as `[64, 3, 7, 7] Float`.
    pub expected: String,
    /// Size and dtype in the file.
    pub found: String,
}

impl Misfit {
    fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misshapen.is_empty()
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the weights do not fit the network")?;
        told(formatter, "missing", &self.missing)?;
        told(formatter, "unexpected", &self.unexpected)?;
        told(formatter, "mismatched", &self.misshapen)
    }
}

impl fmt::Display for Misshapen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (the network has {}, the file {})", self.name, self.expected, self.found)
    }
}

fn told(formatter: &mut fmt::Formatter<'_>, what: &str, names: &[impl fmt::Display]) -> fmt::Result {
    if names.is_empty() {
        return Ok(());
    }
    write!(formatter, "; {} {what}: ", names.len())?;
    for (index, name) in names.iter().take(TOLD).enumerate() {
        write!(formatter, "{}{name}", if index > 0 { ", " } else { "" })?;
    }
    if names.len() > TOLD { write!(formatter, " and {} more", names.len() - TOLD) } else { Ok(()) }
}

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
