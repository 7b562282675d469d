//! RetinaNet with a ResNet-50 and a feature pyramid, torchvision's second version.

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
    name: "retinanet_resnet50_fpn_v2",
    task: Task::Detection,
    builder: Builder::Detector(DetectorBuilder {
        build: |path, config| DetectorNet::RetinaNet(Box::new(RetinaNet::new(path, config, Version::V2))),
        postprocessing: retinanet::POSTPROCESSING,
        backbone: "resnet50",
        trained_without_eps: None,
    }),
    batch_norms: BatchNorms::Trained,
    loss: LossFamily::RetinaNetGiou,
    layout: retinanet::LAYOUT_V2,
    class_logits: ClassLogits::DENSE,
    default_num_classes: COCO_CLASSES,
    weights: &[Published::coco_v1(
        "retinanet_resnet50_fpn_v2",
        "retinanet_resnet50_fpn_v2_coco-5905b1c5.pth",
        146.037,
        41.5,
    )],
    gflops: 152.24,
};
