//! Faster R-CNN with a ResNet-50 and a feature pyramid, torchvision's second version.

use lookout_config::{BatchNorms, Task};

use super::{ArchSpec, Builder, DetectorBuilder, LossFamily};
use crate::{
    detection::{
        DetectorNet, Version,
        faster_rcnn::{self, FasterRcnn},
    },
    labels::COCO_CLASSES,
    random::ClassLogits,
    weights::Published,
};

pub(super) const SPEC: ArchSpec = ArchSpec {
    name: "fasterrcnn_resnet50_fpn_v2",
    task: Task::Detection,
    builder: Builder::Detector(DetectorBuilder {
        build: |path, config| DetectorNet::FasterRcnn(Box::new(FasterRcnn::new(path, config, Version::V2))),
        postprocessing: faster_rcnn::POSTPROCESSING,
        backbone: "resnet50",
        trained_without_eps: None,
    }),
    batch_norms: BatchNorms::Trained,
    loss: LossFamily::FasterRcnn,
    layout: faster_rcnn::LAYOUT,
    class_logits: ClassLogits::SECOND_STAGE,
    default_num_classes: COCO_CLASSES,
    weights: &[Published::coco_v1(
        "fasterrcnn_resnet50_fpn_v2",
        "fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth",
        167.104,
        46.7,
    )],
    gflops: 280.37,
};
