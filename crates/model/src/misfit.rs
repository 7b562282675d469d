//! Advice for weights that do not fit a network.

use std::collections::BTreeMap;

use tch::Tensor;

use crate::{network::Network, weights::StateDict};

/// Maximum number of names in a list.
const LISTED: usize = 5;

/// Describes which network the tensors of `state` belong to, if that can be recognized, and what to do.
///
/// `prefix` is the prefix that was removed from the tensors' names.
pub(crate) fn advice(state: &StateDict, prefix: Option<&str>) -> String {
    let under = prefix.map(|prefix| format!("under the prefix `{prefix}` ")).unwrap_or_default();
    if let Some(arch) = fitting(state) {
        return format!(
            "{under}its tensors are those of {arch}; set `arch = \"{arch}\"`, or use other weights"
        );
    }
    let prefixes = state.beginnings();
    let listed = prefixes.iter().take(LISTED).map(|name| format!("`{name}.`")).collect::<Vec<_>>().join(", ");
    let more = if prefixes.len() > LISTED { " and others" } else { "" };
    match &prefixes[..] {
        [only] => format!(
            "all of its tensor names {under}start with `{only}.`, and do not fit without it either; check what the \
             file holds, and extract a part of it with `lookout weights import FILE --prefix {only}. --output \
             OUT.safetensors`"
        ),
        _ => format!(
            "its tensor names {under}start with {listed}{more}; save the `state_dict()` of the network that `arch` \
             names, or extract a part of the file with `lookout weights import FILE --prefix PREFIX --output \
             OUT.safetensors`"
        ),
    }
}

/// Returns an architecture whose tensors have exactly the names and the shapes of `state`, whatever the number of
/// classes.
fn fitting(state: &StateDict) -> Option<&'static str> {
    // Tensors without a known stem cannot fit any architecture, so that no network needs to be built for them.
    let has = |name: &str| state.tensors.contains_key(name);
    if !has("conv1.weight") && !has("backbone.body.conv1.weight") {
        return None;
    }
    let shared = || state.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
    let copy =
        || StateDict { tensors: shared().collect::<BTreeMap<String, Tensor>>(), digest: String::new() };
    lookout_config::arch_names().find(|arch| Network::from_state(arch, copy()).is_ok())
}
