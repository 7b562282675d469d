//! Finds the state dict in a checkpoint, and normalizes the names of its tensors.

use std::collections::BTreeMap;

use super::{
    FormatError,
    pickle::{Object, Pickle, TensorSpec, Value},
    shortened::shortened,
};

/// Keys under which training scripts store the state dict, in order of preference if a checkpoint has several:
/// the trained weights come before their moving average.
const WRAPPERS: [&str; 21] = [
    "state_dict",
    "model_state_dict",
    "model_state",
    "model_weights",
    "model",
    "network",
    "net",
    "net_state_dict",
    "network_state_dict",
    "weights",
    "params",
    "parameters",
    "module",
    "ema_state_dict",
    "model_ema",
    "state_dict_ema",
    "model_ema_state_dict",
    "params_ema",
    "ema_model",
    "ema",
    "averaged_model",
];

/// Parts of tensor names that torch's wrappers add at any depth: `torch.compile`, FSDP, activation
/// checkpointing, Lightning Fabric.
const MARKERS: [&str; 4] =
    ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"];

/// The counter that `torch.optim.swa_utils.AveragedModel` stores beside the network.
const AVERAGED: &str = "n_averaged";

/// Maximum nesting depth of dicts. It ends the walk through a pickle that contains itself.
const MAX_DEPTH: usize = 8;

/// Maximum length of a tensor's name in bytes. Without it, nested dicts that share long keys could produce
/// names without bound.
const MAX_NAME: usize = 1024;

/// Maximum number of values that are visited. Dicts that share parts can hold far more values than the file
/// does. Together with [`MAX_NAME`], this limits all names to 64 MiB.
const MAX_VISITS: usize = 1 << 16;

/// Tensors by their normalized names.
#[derive(Debug)]
pub(super) struct Named<T> {
    pub(super) tensors: BTreeMap<String, T>,
    /// The wrappers and prefixes that were removed, the outermost first, for the log.
    pub(super) removed: Vec<String>,
    /// Other wrappers with tensors beside the selected one, for the log.
    pub(super) others: Vec<&'static str>,
}

/// Returns the tensors of the state dict in a pickle, by name.
///
/// The state dict is the pickle's root dict, or a dict in it under one of [`WRAPPERS`]. The name of a tensor in
/// a nested dict is the dict's key, a point and the tensor's key. Values that are not tensors are skipped.
/// Finally the names are [`cleaned`].
pub(super) fn tensors<'p, 'a>(pickle: &'p Pickle<'a>) -> Result<Named<&'p TensorSpec<'a>>, FormatError> {
    let mut root = pickle.root;
    let (mut removed, mut others) = (Vec::new(), Vec::new());
    for _ in 0..MAX_DEPTH {
        let mut found = wrapped(pickle, root).into_iter();
        let Some((key, inner)) = found.next() else { break };
        removed.push(key.to_owned());
        others.extend(found.map(|(key, _)| key));
        root = inner;
    }
    let mut walk = Walk { pickle, tensors: BTreeMap::new(), visits: 0 };
    walk.dict(root, "", 0)?;
    if walk.tensors.is_empty() {
        return Err(FormatError::NoTensors { found: keys(pickle, root) });
    }
    let cleaned = cleaned(walk.tensors);
    removed.extend(cleaned.removed);
    Ok(Named { tensors: cleaned.tensors, removed, others })
}

/// Removes the parts that wrappers of networks added to the names: [`MARKERS`] anywhere, and [`WRAPPERS`]
/// repeatedly as long as every name starts with the same one. Drops the counter of a moving average.
pub(super) fn cleaned<T>(tensors: BTreeMap<String, T>) -> Named<T> {
    let Named { mut tensors, mut removed, others } = without_markers(tensors);
    loop {
        if tensors.len() > 1 {
            tensors.remove(AVERAGED);
        }
        let Some(first) = common(tensors.keys()).filter(|first| WRAPPERS.contains(first)) else {
            return Named { tensors, removed, others };
        };
        let cut = first.len() + 1;
        removed.push(format!("{first}."));
        // Distinct names with a common prefix stay distinct without it.
        tensors = tensors.into_iter().map(|(name, tensor)| (name[cut..].to_owned(), tensor)).collect();
    }
}

fn without_markers<T>(tensors: BTreeMap<String, T>) -> Named<T> {
    let plain =
        |name: &str| name.split('.').filter(|part| !MARKERS.contains(part)).collect::<Vec<_>>().join(".");
    let mut names = std::collections::BTreeSet::new();
    let unique = tensors.keys().all(|name| {
        let plain = plain(name);
        !plain.is_empty() && names.insert(plain)
    });
    let found = |marker: &&str| tensors.keys().any(|name| name.split('.').any(|part| part == *marker));
    let removed: Vec<String> =
        MARKERS.iter().filter(|marker| found(marker)).map(|m| format!("{m}.")).collect();
    if removed.is_empty() || !unique {
        return Named { tensors, removed: Vec::new(), others: Vec::new() };
    }
    let tensors = tensors.into_iter().map(|(name, tensor)| (plain(&name), tensor)).collect();
    Named { tensors, removed, others: Vec::new() }
}

/// Returns the part before the first point if it is the same in all names and something follows it in each.
fn common<'n>(mut names: impl Iterator<Item = &'n String>) -> Option<&'n str> {
    let first =
        |name: &'n String| name.split_once('.').filter(|(_, rest)| !rest.is_empty()).map(|(first, _)| first);
    let common = first(names.next()?)?;
    names.all(|name| first(name) == Some(common)).then_some(common)
}

/// Returns the rank of a prefix such as `model_ema.` in the order of preference; a lower rank is preferred.
pub(super) fn rank(prefix: &str) -> usize {
    let first = prefix.split('.').next().unwrap_or_default();
    WRAPPERS.iter().position(|wrapper| *wrapper == first).unwrap_or(WRAPPERS.len())
}

/// Returns the dicts with tensors that `value` holds under keys of [`WRAPPERS`], the preferred one first.
fn wrapped<'a>(pickle: &Pickle<'a>, value: Value<'a>) -> Vec<(&'static str, Value<'a>)> {
    let items = pickle.dict(value).unwrap_or_default();
    let mut visits = 0;
    let of = |wrapper: &'static str| {
        // Scripts store other things under these keys too, such as the `params` of an optimizer or an empty
        // `weights`.
        let mut named = items.iter().filter(|(key, _)| *key == Value::Text(wrapper));
        let found = named.find(|(_, inner)| has_tensor(pickle, *inner, 0, &mut visits));
        found.map(|(_, inner)| (wrapper, *inner))
    };
    WRAPPERS.into_iter().filter_map(of).collect()
}

fn has_tensor<'a>(pickle: &Pickle<'a>, value: Value<'a>, depth: usize, visits: &mut usize) -> bool {
    pickle.dict(value).into_iter().flatten().any(|(_, inner)| {
        *visits += 1;
        if *visits > MAX_VISITS || depth > MAX_DEPTH {
            return false;
        }
        match inner {
            Value::Unreadable(_) => true,
            _ => {
                matches!(pickle.object(*inner), Some(Object::Tensor(_)))
                    || has_tensor(pickle, *inner, depth + 1, visits)
            }
        }
    })
}

/// Describes the keys of a pickle without tensors, for the error text.
fn keys<'a>(pickle: &Pickle<'a>, value: Value<'a>) -> String {
    let Some(items) = pickle.dict(value) else {
        return "a value that is not a dict".to_owned();
    };
    let names = items.iter().filter_map(|(key, _)| match key {
        Value::Text(key) => Some(format!("`{}`", shortened(key))),
        _ => None,
    });
    let names: Vec<String> = names.take(10).collect();
    if names.is_empty() { "no names".to_owned() } else { names.join(", ") }
}

struct Walk<'p, 'a> {
    pickle: &'p Pickle<'a>,
    tensors: BTreeMap<String, &'p TensorSpec<'a>>,
    visits: usize,
}

impl<'a> Walk<'_, 'a> {
    fn dict(&mut self, value: Value<'a>, prefix: &str, depth: usize) -> Result<(), FormatError> {
        let Some(items) = self.pickle.dict(value) else {
            return Ok(());
        };
        for (key, value) in items {
            self.visits += 1;
            if self.visits > MAX_VISITS || depth > MAX_DEPTH {
                return Err(FormatError::malformed(
                    "its dicts hold too many values, or are nested too deeply",
                ));
            }
            let Value::Text(key) = key else {
                continue;
            };
            if let Value::Unreadable(what) = *value {
                return Err(FormatError::Unsupported { what });
            }
            match self.pickle.object(*value) {
                Some(Object::Tensor(tensor)) => {
                    let name = joined(prefix, key)?;
                    if self.tensors.insert(name, tensor).is_some() {
                        return Err(FormatError::duplicate(key));
                    }
                }
                Some(Object::Dict(_)) => {
                    self.dict(*value, &format!("{}.", joined(prefix, key)?), depth + 1)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn joined(prefix: &str, key: &str) -> Result<String, FormatError> {
    let name = format!("{prefix}{key}");
    if name.len() > MAX_NAME {
        return Err(FormatError::malformed("a tensor's name is longer than 1,024 bytes"));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> (Vec<String>, String) {
        let Named { tensors, removed, .. } =
            cleaned(names.iter().map(|name| ((*name).to_owned(), ())).collect());
        (tensors.into_keys().collect(), removed.join(" "))
    }

    #[test]
    fn wrapper_prefixes_are_removed_in_any_order() {
        for prefix in [
            "module.",
            "_orig_mod.",
            "model.",
            "net.",
            "module._orig_mod.",
            "_orig_mod.module.",
            "model._orig_mod.",
            "state_dict.model.module._orig_mod.",
            "_forward_module.model.",
        ] {
            let [a, b] = ["conv1.weight", "layer1.0.bn1.bias"].map(|name| format!("{prefix}{name}"));
            let (found, removed) = names(&[&a, &b]);
            assert_eq!(found, ["conv1.weight", "layer1.0.bn1.bias"], "{prefix}");
            let removed_length: usize = removed.split(' ').map(str::len).sum();
            assert_eq!(removed_length, prefix.len(), "{prefix}: {removed}");
        }
        let (found, _) = names(&["n_averaged", "module.module.conv1.weight", "module.module.fc.bias"]);
        assert_eq!(found, ["conv1.weight", "fc.bias"]);
        let (found, _) = names(&["layer1._orig_mod.0.conv1.weight", "fc._checkpoint_wrapped_module.bias"]);
        assert_eq!(found, ["fc.bias", "layer1.0.conv1.weight"]);
    }

    #[test]
    fn names_of_the_network_are_kept() {
        for list in [
            &["backbone.body.conv1.weight", "backbone.fpn.a.bias"][..],
            &["module.a", "other.b"],
            &["model"],
            &["n_averaged"],
            &["head._orig_mod.a", "head.a"],
        ] {
            let mut list: Vec<String> = list.iter().map(|name| (*name).to_owned()).collect();
            list.sort();
            let all: Vec<&str> = list.iter().map(String::as_str).collect();
            assert_eq!(names(&all), (list, String::new()));
        }
    }
}
