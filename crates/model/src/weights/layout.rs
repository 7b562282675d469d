//! The names of the tensors in the state dicts of a family of networks.

use super::StateDict;

/// The parts of a state dict by the names of their tensors.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Prefix of the backbone's tensors. Empty for classifiers, where all layers but the last one are the backbone.
    pub(crate) backbone: &'static str,
    /// The layers whose size depends on the number of classes. The layer that computes the class logits is the first.
    pub(crate) class_layers: &'static [&'static str],
    /// Number of logits per class, which is the number of anchors per location.
    pub(crate) logits_per_class: i64,
    /// Names of tensors that every such network has, independent of its number of classes. They come from the stem and
    /// from the last stage.
    pub(crate) landmarks: &'static [&'static str],
    /// Returns the current name of a tensor for its name in files of old torchvision releases; `None` for all other
    /// names.
    pub(crate) upgrade_name: fn(&str) -> Option<String>,
}

impl Layout {
    /// Returns the layer that computes the class logits.
    pub(crate) fn class_logits(&self) -> Option<&'static str> {
        self.class_layers.first().copied()
    }

    /// Returns whether the size of a tensor depends on the number of classes.
    pub fn is_of_class_layer(&self, name: &str) -> bool {
        let of = |layer: &&str| name.strip_prefix(*layer).is_some_and(|rest| rest.starts_with('.'));
        self.class_layers.iter().any(of)
    }

    /// Returns the name of a backbone's tensor without the prefix of the backbone; `None` for other tensors.
    pub fn name_in_backbone<'n>(&self, name: &'n str) -> Option<&'n str> {
        name.strip_prefix(self.backbone).filter(|_| !self.is_of_class_layer(name))
    }

    /// Renames the tensors of a file of an old torchvision release.
    pub(crate) fn upgrade_state_dict(&self, state: &mut StateDict) {
        let old: Vec<(String, String)> = state
            .tensors
            .keys()
            .filter_map(|name| Some((name.clone(), (self.upgrade_name)(name)?)))
            .filter(|(_, new)| !state.tensors.contains_key(new))
            .collect();
        for (old, new) in old {
            if let Some(tensor) = state.tensors.remove(&old) {
                state.tensors.insert(new, tensor);
            }
        }
    }
}
