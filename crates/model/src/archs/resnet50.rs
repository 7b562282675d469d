//! ResNet-50: He, Zhang, Ren and Sun 2015, table 1.

use lookout_config::{BatchNorms, Task};

use super::{ArchSpec, Builder, LossFamily};
use crate::{
    labels::IMAGENET_CLASSES,
    random::ClassLogits,
    resnet::{LAYOUT, ResNetConfig},
    weights::Published,
};

pub(crate) const SPEC: ArchSpec = ArchSpec {
    name: "resnet50",
    task: Task::Classification,
    builder: Builder::ResNet(ResNetConfig::RESNET50),
    batch_norms: BatchNorms::Trained,
    loss: LossFamily::Classification,
    layout: LAYOUT,
    class_logits: ClassLogits::PLAIN,
    default_num_classes: IMAGENET_CLASSES,
    weights: &[
        Published::imagenet_v1("resnet50", "resnet50-0676ba61.pth", 97.781, 76.130, 92.862),
        Published::imagenet_v2("resnet50", "resnet50-11ad3fa6.pth", 97.79, 80.858, 95.434),
    ],
    gflops: 4.09,
};
