//! State dict names that torchvision's detectors had before its release 0.13. The published files of
//! `retinanet_resnet50_fpn`, `fcos_resnet50_fpn` and `fasterrcnn_resnet50_fpn` still have them. torchvision
//! renames them while it loads a file (`_load_from_state_dict` of its modules), and so does this module.

use super::{DetectorKind, Version};
use crate::weights::StateDict;

/// Renames the tensors of an old file to their current names.
pub(crate) fn modernize(kind: DetectorKind, state: &mut StateDict) {
    let old: Vec<(String, String)> = state
        .tensors
        .keys()
        .filter_map(|name| Some((name.clone(), new_name(kind, name)?)))
        .filter(|(_, new)| !state.tensors.contains_key(new))
        .collect();
    for (old, new) in old {
        if let Some(tensor) = state.tensors.remove(&old) {
            state.tensors.insert(new, tensor);
        }
    }
}

/// Returns the current name for an old one, or `None` if the name is not an old one.
fn new_name(kind: DetectorKind, name: &str) -> Option<String> {
    let (layer, parameter) = name.rsplit_once('.').filter(|(_, last)| matches!(*last, "weight" | "bias"))?;
    let (parent, index) = layer.rsplit_once('.')?;
    let number = index.parse::<usize>().ok();
    match (parent, number) {
        ("backbone.fpn.inner_blocks" | "backbone.fpn.layer_blocks", Some(i)) => {
            Some(format!("{parent}.{i}.0.{parameter}"))
        }
        // In old files, each convolution and each ReLU had an index of its own.
        ("head.classification_head.conv" | "head.regression_head.conv", Some(i))
            if kind == DetectorKind::RetinaNet(Version::V1) && i % 2 == 0 =>
        {
            Some(format!("{parent}.{}.0.{parameter}", i / 2))
        }
        ("rpn.head", None) if index == "conv" => Some(format!("rpn.head.conv.0.0.{parameter}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETINANET: DetectorKind = DetectorKind::RetinaNet(Version::V1);
    const FASTER: DetectorKind = DetectorKind::FasterRcnn(Version::V1);

    #[test]
    fn old_tensor_names_are_upgraded() {
        let new = |kind, name| new_name(kind, name).unwrap_or_default();
        assert_eq!(
            new(RETINANET, "backbone.fpn.inner_blocks.2.weight"),
            "backbone.fpn.inner_blocks.2.0.weight"
        );
        assert_eq!(new(RETINANET, "head.regression_head.conv.6.bias"), "head.regression_head.conv.3.0.bias");
        assert_eq!(new(FASTER, "rpn.head.conv.weight"), "rpn.head.conv.0.0.weight");
    }

    #[test]
    fn current_tensor_names_are_kept() {
        for (kind, name) in [
            (RETINANET, "backbone.fpn.inner_blocks.2.0.weight"),
            (RETINANET, "head.regression_head.conv.3.0.bias"),
            (FASTER, "rpn.head.conv.0.0.weight"),
            (FASTER, "rpn.head.cls_logits.weight"),
            (FASTER, "backbone.body.layer1.0.conv1.weight"),
            // In FCOS, norms and ReLUs still have their own indices.
            (DetectorKind::Fcos, "head.classification_head.conv.6.weight"),
        ] {
            assert_eq!(new_name(kind, name), None, "{name}");
        }
    }
}
