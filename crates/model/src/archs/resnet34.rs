//! ResNet-34: He, Zhang, Ren and Sun 2015, table 1.

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
    name: "resnet34",
    task: Task::Classification,
    builder: Builder::ResNet(ResNetConfig::new(BlockKind::Basic, [3, 4, 6, 3])),
    batch_norms: BatchNorms::Trained,
    loss: LossFamily::Classification,
    layout: LAYOUT,
    class_logits: ClassLogits::PLAIN,
    default_num_classes: IMAGENET_CLASSES,
    weights: &[Published::imagenet_v1("resnet34", "resnet34-b627a593.pth", 83.275, 73.314, 91.420)],
    gflops: 3.66,
};
