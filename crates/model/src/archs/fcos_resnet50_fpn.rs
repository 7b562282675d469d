//! FCOS with a ResNet-50 and a feature pyramid, torchvision's `fcos_resnet50_fpn`.

use lookout_config::{BatchNorms, Task};

use super::{ArchSpec, Builder, DetectorBuilder, LossFamily};
use crate::{
    detection::{
        DetectorNet,
        fcos::{self, Fcos},
    },
    labels::COCO_CLASSES,
    random::ClassLogits,
    weights::Published,
};

pub(super) const SPEC: ArchSpec = ArchSpec {
    name: "fcos_resnet50_fpn",
    task: Task::Detection,
    builder: Builder::Detector(DetectorBuilder {
        build: |path, config| DetectorNet::Fcos(Box::new(Fcos::new(path, config))),
        postprocessing: fcos::POSTPROCESSING,
        backbone: "resnet50",
        trained_without_eps: None,
    }),
    batch_norms: BatchNorms::Frozen,
    loss: LossFamily::Fcos,
    layout: fcos::LAYOUT,
    class_logits: ClassLogits::DENSE,
    default_num_classes: COCO_CLASSES,
    weights: &[Published::coco_v1("fcos_resnet50_fpn", "fcos_resnet50_fpn_coco-99b0c9b7.pth", 123.608, 39.2)],
    gflops: 128.21,
};
