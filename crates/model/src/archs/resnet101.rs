//! ResNet-101: He, Zhang, Ren and Sun 2015, table 1.

use lookout_config::{BatchNorms, Task};

use super::{ArchSpec, Builder, LossFamily};
use crate::{
    labels::IMAGENET_CLASSES,
    random::ClassLogits,
    resnet::{LAYOUT, ResNetConfig},
    resnet_block::BlockKind,
    weights::Published,
};

pub(super) const SPEC: ArchSpec = ArchSpec {
    name: "resnet101",
    task: Task::Classification,
    builder: Builder::ResNet(ResNetConfig::new(BlockKind::Bottleneck, [3, 4, 23, 3])),
    batch_norms: BatchNorms::Trained,
    loss: LossFamily::Classification,
    layout: LAYOUT,
    class_logits: ClassLogits::PLAIN,
    default_num_classes: IMAGENET_CLASSES,
    weights: &[
        Published::imagenet_v1("resnet101", "resnet101-63fe2227.pth", 170.511, 77.374, 93.546),
        Published::imagenet_v2("resnet101", "resnet101-cd907fc2.pth", 170.53, 81.886, 95.780),
    ],
    gflops: 7.80,
};
