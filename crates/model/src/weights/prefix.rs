//! Extracts a network's tensors from a state dict that holds them under a prefix, or together with those of
//! other networks.

use std::collections::BTreeMap;

use super::{StateDict, WeightsError, names::rank};

/// Extracts the tensors of a network from a state dict in which all of their names have a prefix, such as
/// `encoder.` or `generator.`. Returns them without the prefix, and the prefix. Returns the state dict
/// unchanged and `None` if the names have no prefix. `landmarks` are names of tensors that the network has for
/// any number of classes.
///
/// # Errors
///
/// [`WeightsError::Prefixes`] if there are several prefixes and none of them is preferred.
pub(crate) fn taken(
    state: StateDict,
    landmarks: &[&str],
) -> Result<(StateDict, Option<String>), WeightsError> {
    let prefixes = prefixes(&state, landmarks);
    if prefixes.is_empty() || prefixes.iter().any(String::is_empty) {
        return Ok((state, None));
    }
    let best = prefixes.iter().map(|prefix| rank(prefix)).min().unwrap_or(0);
    let mut preferred = prefixes.iter().filter(|prefix| rank(prefix) == best);
    let (Some(prefix), None) = (preferred.next(), preferred.next()) else {
        return Err(WeightsError::Prefixes { prefixes });
    };
    let (state, left) = cut(state, prefix);
    tracing::warn!(
        prefix = prefix.as_str(),
        left_out = left,
        "removed the common prefix of the tensor names, ignoring tensors without it"
    );
    Ok((state, Some(prefix.clone())))
}

/// Returns the prefixes under which all of the landmarks exist.
fn prefixes(state: &StateDict, landmarks: &[&str]) -> Vec<String> {
    let Some(first) = landmarks.first() else { return Vec::new() };
    let before = |name: &String| {
        let prefix = name.strip_suffix(first)?;
        let whole = prefix.is_empty() || prefix.ends_with('.');
        let all = || landmarks.iter().all(|name| state.tensors.contains_key(&format!("{prefix}{name}")));
        (whole && all()).then(|| prefix.to_owned())
    };
    state.tensors.keys().filter_map(before).collect()
}

/// Returns the tensors whose names start with `prefix`, without it, and the number of the other tensors.
fn cut(state: StateDict, prefix: &str) -> (StateDict, usize) {
    let all = state.tensors.len();
    let without = |(name, tensor): (String, _)| Some((name.strip_prefix(prefix)?.to_owned(), tensor));
    let tensors: BTreeMap<_, _> = state
        .tensors
        .into_iter()
        .filter_map(without)
        .filter(|(name, _): &(String, _)| !name.is_empty())
        .collect();
    let left = all - tensors.len();
    (StateDict { tensors, digest: state.digest }, left)
}

impl StateDict {
    /// Returns only the tensors whose names start with `prefix`, without it.
    ///
    /// # Errors
    ///
    /// [`WeightsError::NoPrefix`], with the first parts of the existing names, if no name starts with `prefix`.
    pub fn under(self, prefix: &str) -> Result<Self, WeightsError> {
        let firsts = self.beginnings();
        let prefix = if prefix.ends_with('.') { prefix.to_owned() } else { format!("{prefix}.") };
        let (state, _) = cut(self, &prefix);
        if state.tensors.is_empty() { Err(WeightsError::NoPrefix { prefix, firsts }) } else { Ok(state) }
    }

    /// Returns the parts of the tensors' names before the first point, each once.
    pub(crate) fn beginnings(&self) -> Vec<String> {
        let firsts = self.tensors.keys().map(|name| name.split('.').next().unwrap_or_default().to_owned());
        let mut firsts: Vec<String> = firsts.collect();
        firsts.dedup();
        firsts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Tensor;

    const ANCHORS: [&str; 2] = ["conv1.weight", "bn1.bias"];

    fn state(names: &[&str]) -> StateDict {
        let tensors = names.iter().map(|name| ((*name).to_owned(), Tensor::from(0.5))).collect();
        StateDict { tensors, digest: String::new() }
    }

    fn names(state: &StateDict) -> Vec<&str> {
        state.tensors.keys().map(String::as_str).collect()
    }

    #[test]
    fn tensors_are_found_under_any_prefix() {
        let all =
            ["encoder.q.conv1.weight", "encoder.q.bn1.bias", "encoder.q.layer1.0.conv1.weight", "loss.scale"];
        let (state, prefix) = taken(state(&all), &ANCHORS).unwrap();
        assert_eq!(names(&state), ["bn1.bias", "conv1.weight", "layer1.0.conv1.weight"]);
        assert_eq!(prefix.as_deref(), Some("encoder.q."));
    }

    #[test]
    fn names_without_a_prefix_are_all_kept() {
        let all = ["bn1.bias", "conv1.weight", "ema.bn1.bias", "ema.conv1.weight", "stranger"];
        assert_eq!(names(&taken(state(&all), &ANCHORS).unwrap().0), all);
        assert_eq!(names(&taken(state(&["a.b"]), &ANCHORS).unwrap().0), ["a.b"]);
    }

    #[test]
    fn preferred_prefix_is_used_and_ambiguous_prefixes_are_listed() {
        let all = ["ema.conv1.weight", "ema.bn1.bias", "model.conv1.weight", "model.bn1.bias"];
        assert_eq!(taken(state(&all), &ANCHORS).unwrap().1.as_deref(), Some("model."));
        let all = ["student.conv1.weight", "student.bn1.bias", "teacher.conv1.weight", "teacher.bn1.bias"];
        let error = taken(state(&all), &ANCHORS).unwrap_err();
        assert!(
            matches!(&error, WeightsError::Prefixes { prefixes } if *prefixes == ["student.", "teacher."]),
            "{error}"
        );
        assert_eq!(names(&state(&all).under("teacher").unwrap()), ["bn1.bias", "conv1.weight"]);
        let error = state(&all).under("net.").unwrap_err().to_string();
        assert!(error.contains("student, teacher"), "{error}");
    }
}
