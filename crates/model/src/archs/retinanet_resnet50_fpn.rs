//! RetinaNet with a ResNet-50 and a feature pyramid, torchvision's first version.

use lookout_config::{BatchNorms, Task};

use super::{ArchSpec, Builder, DetectorBuilder, LossFamily};
use crate::{
    detection::{
        DetectorNet, Version,
        retinanet::{self, RetinaNet},
    },
    labels::COCO_CLASSES,
    random::ClassLogits,
    weights::Published,
};

pub(super) const SPEC: ArchSpec = ArchSpec {
    name: "retinanet_resnet50_fpn",
    task: Task::Detection,
    builder: Builder::Detector(DetectorBuilder {
        build: |path, config| DetectorNet::RetinaNet(Box::new(RetinaNet::new(path, config, Version::V1))),
        postprocessing: retinanet::POSTPROCESSING,
        backbone: "resnet50",
        trained_without_eps: Some("sha256:eeacb38b"),
    }),
    batch_norms: BatchNorms::Frozen,
    loss: LossFamily::RetinaNetL1,
    layout: retinanet::LAYOUT_V1,
    class_logits: ClassLogits::DENSE,
    default_num_classes: COCO_CLASSES,
    weights: &[Published::coco_v1(
        "retinanet_resnet50_fpn",
        "retinanet_resnet50_fpn_coco-eeacb38b.pth",
        130.267,
        36.4,
    )],
    gflops: 151.54,
};
