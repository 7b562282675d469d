//! ResNet-18: He, Zhang, Ren and Sun 2015, table 1.

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
    name: "resnet18",
    task: Task::Classification,
    builder: Builder::ResNet(ResNetConfig::new(BlockKind::Basic, [2, 2, 2, 2])),
    batch_norms: BatchNorms::Trained,
    loss: LossFamily::Classification,
    layout: LAYOUT,
    class_logits: ClassLogits::PLAIN,
    default_num_classes: IMAGENET_CLASSES,
    weights: &[Published::imagenet_v1("resnet18", "resnet18-f37072fd.pth", 44.661, 69.758, 89.078)],
    gflops: 1.81,
};
