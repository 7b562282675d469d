//! The table of all built-in architectures.

use crate::{
    ModelError,
    detection::{COCO_CLASSES, DetectorKind, Version},
    network::IMAGENET_CLASSES,
    resnet::ResNetKind,
};

/// A built-in network architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arch {
    Classifier(ResNetKind),
    Detector(DetectorKind),
}

impl Arch {
    /// Returns the architecture with a name from `lookout_config::ARCHS`.
    ///
    /// # Errors
    /// [`ModelError::UnknownArch`] for any other name.
    pub(crate) fn named(name: &str) -> Result<Self, ModelError> {
        Ok(match name {
            "plain18" => Self::Classifier(ResNetKind::Plain18),
            "plain34" => Self::Classifier(ResNetKind::Plain34),
            "resnet18" => Self::Classifier(ResNetKind::ResNet18),
            "resnet34" => Self::Classifier(ResNetKind::ResNet34),
            "resnet50" => Self::Classifier(ResNetKind::ResNet50),
            "resnet101" => Self::Classifier(ResNetKind::ResNet101),
            "resnet152" => Self::Classifier(ResNetKind::ResNet152),
            "retinanet_resnet50_fpn" => Self::Detector(DetectorKind::RetinaNet(Version::V1)),
            "retinanet_resnet50_fpn_v2" => Self::Detector(DetectorKind::RetinaNet(Version::V2)),
            "fcos_resnet50_fpn" => Self::Detector(DetectorKind::Fcos),
            "fasterrcnn_resnet50_fpn" => Self::Detector(DetectorKind::FasterRcnn(Version::V1)),
            "fasterrcnn_resnet50_fpn_v2" => Self::Detector(DetectorKind::FasterRcnn(Version::V2)),
            _ => return Err(ModelError::UnknownArch { arch: name.to_owned() }),
        })
    }

    /// Returns names of tensors that every network of this architecture has, independent of its number of classes. They
    /// come from the stem and from the last stage.
    pub(crate) const fn anchors(self) -> &'static [&'static str] {
        match self {
            Self::Classifier(_) => {
                &["conv1.weight", "bn1.running_mean", "layer1.0.conv1.weight", "layer4.0.conv1.weight"]
            }
            Self::Detector(_) => &[
                "backbone.body.conv1.weight",
                "backbone.body.bn1.running_mean",
                "backbone.body.layer4.0.conv1.weight",
            ],
        }
    }

    /// Returns the number of classes of torchvision's weights.
    pub(crate) const fn usual_classes(self) -> i64 {
        match self {
            Self::Classifier(_) => IMAGENET_CLASSES,
            Self::Detector(_) => COCO_CLASSES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_configurable_arch_has_a_network() {
        for name in lookout_config::ARCHS {
            Arch::named(name).unwrap();
        }
        assert!(matches!(Arch::named("vgg16"), Err(ModelError::UnknownArch { .. })));
    }
}
