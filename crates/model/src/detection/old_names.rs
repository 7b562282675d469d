//! State dict names that torchvision's detectors had before its release 0.13. The published files of
//! `retinanet_resnet50_fpn`, `fcos_resnet50_fpn` and `fasterrcnn_resnet50_fpn` still have them. torchvision
//! renames them while it loads a file (`_load_from_state_dict` of its modules), and so does Lookout.

/// Returns the current name for an old one of the feature pyramid, or `None` if the name is not an old one.
pub(super) fn upgrade_fpn_name(name: &str) -> Option<String> {
    let Parts { parent, last, parameter } = parts(name)?;
    let i = last.parse::<usize>().ok()?;
    matches!(parent, "backbone.fpn.inner_blocks" | "backbone.fpn.layer_blocks")
        .then(|| format!("{parent}.{i}.0.{parameter}"))
}

/// As [`upgrade_fpn_name`], also for the head of the first RetinaNet: in old files, each convolution and each ReLU had
/// an index of its own.
pub(super) fn upgrade_retinanet_name(name: &str) -> Option<String> {
    let Parts { parent, last, parameter } = parts(name)?;
    let i = last.parse::<usize>().ok().filter(|i| i % 2 == 0);
    match (parent, i) {
        ("head.classification_head.conv" | "head.regression_head.conv", Some(i)) => {
            Some(format!("{parent}.{}.0.{parameter}", i / 2))
        }
        _ => upgrade_fpn_name(name),
    }
}

/// As [`upgrade_fpn_name`], also for the region proposal network.
pub(super) fn upgrade_faster_rcnn_name(name: &str) -> Option<String> {
    let Parts { parent, last, parameter } = parts(name)?;
    match (parent, last) {
        ("rpn.head", "conv") => Some(format!("rpn.head.conv.0.0.{parameter}")),
        _ => upgrade_fpn_name(name),
    }
}

/// The parts of the name of a weight or a bias: `{parent}.{last}.{parameter}`.
struct Parts<'n> {
    parent: &'n str,
    last: &'n str,
    parameter: &'n str,
}

fn parts(name: &str) -> Option<Parts<'_>> {
    let (layer, parameter) = name.rsplit_once('.').filter(|(_, last)| matches!(*last, "weight" | "bias"))?;
    let (parent, last) = layer.rsplit_once('.')?;
    Some(Parts { parent, last, parameter })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_tensor_names_are_upgraded() {
        for (new, old, current) in [
            (
                upgrade_retinanet_name("backbone.fpn.inner_blocks.2.weight"),
                "backbone.fpn.inner_blocks.2.weight",
                "backbone.fpn.inner_blocks.2.0.weight",
            ),
            (
                upgrade_retinanet_name("head.regression_head.conv.6.bias"),
                "head.regression_head.conv.6.bias",
                "head.regression_head.conv.3.0.bias",
            ),
            (
                upgrade_faster_rcnn_name("rpn.head.conv.weight"),
                "rpn.head.conv.weight",
                "rpn.head.conv.0.0.weight",
            ),
        ] {
            assert_eq!(new.as_deref(), Some(current), "{old}");
        }
    }

    #[test]
    fn current_tensor_names_are_kept() {
        for name in ["backbone.fpn.inner_blocks.2.0.weight", "head.regression_head.conv.3.0.bias"] {
            assert_eq!(upgrade_retinanet_name(name), None, "{name}");
        }
        for name in
            ["rpn.head.conv.0.0.weight", "rpn.head.cls_logits.weight", "backbone.body.layer1.0.conv1.weight"]
        {
            assert_eq!(upgrade_faster_rcnn_name(name), None, "{name}");
        }
        // FCOS still gives its norms and ReLUs indices of their own.
        assert_eq!(upgrade_fpn_name("head.classification_head.conv.6.weight"), None);
    }
}
