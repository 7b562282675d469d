//! A state dict into a network.

use std::{collections::BTreeMap, fmt};

use tch::{Kind, Tensor};

use super::{StateDict, WeightsError};

/// How many names of a kind an error tells; the count is told always.
const TOLD: usize = 10;

/// How many batches a batch norm was trained on. It does nothing in a trained network, and files of
/// before torch 0.4 lack it.
const UNNEEDED: &str = "num_batches_tracked";

/// All that keeps a state dict from fitting a network.
#[derive(Debug, Default, PartialEq, thiserror::Error)]
pub struct Misfit {
    /// Names that the network has and the file lacks.
    pub missing: Vec<String>,
    /// Names that the file has and the network lacks.
    pub unexpected: Vec<String>,
    pub misshapen: Vec<Misshapen>,
}

/// A tensor that has another size or type in the file than in the network.
#[derive(Debug, PartialEq)]
pub struct Misshapen {
    pub name: String,
    /// What the network has, as `[64, 3, 7, 7]` and its type.
    pub expected: String,
    /// What the file has.
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
        told(formatter, "misshapen", &self.misshapen)
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

/// Copies a state dict into a network's own tensors, in place and outside of autograd.
///
/// Every name must be on both sides with the same size; `num_batches_tracked`, which only training
/// counts, may be missing on either. Floating-point numbers are converted to the network's type, other
/// types must be the same.
///
/// # Errors
///
/// [`Misfit`] with all that does not fit; then nothing was copied.
#[expect(clippy::needless_pass_by_value, reason = "the state dict's memory is let go once it is copied")]
pub fn apply(own: &BTreeMap<String, Tensor>, from: StateDict) -> Result<(), WeightsError> {
    let misfit = misfit(own, &from);
    if !misfit.is_empty() {
        return Err(misfit.into());
    }
    tch::no_grad(|| {
        for (name, tensor) in &from.tensors {
            // A second handle to the same memory: libtorch's copy wants one that is mutable.
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
