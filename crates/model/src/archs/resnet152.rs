//! ResNet-152: He, Zhang, Ren and Sun 2015, table 1.

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
    name: "resnet152",
    task: Task::Classification,
    builder: Builder::ResNet(ResNetConfig::new(BlockKind::Bottleneck, [3, 8, 36, 3])),
    batch_norms: BatchNorms::Trained,
    loss: LossFamily::Classification,
    layout: LAYOUT,
    class_logits: ClassLogits::PLAIN,
    default_num_classes: IMAGENET_CLASSES,
    weights: &[
        Published::imagenet_v1("resnet152", "resnet152-394f9c45.pth", 230.434, 78.312, 94.046),
        Published::imagenet_v2("resnet152", "resnet152-f82ba261.pth", 230.474, 82.284, 96.002),
    ],
    gflops: 11.51,
};
