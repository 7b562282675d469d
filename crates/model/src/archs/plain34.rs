//! ResNet-34 without its shortcuts: He, Zhang, Ren and Sun 2015, figure 3, middle.
//!
//! It is for comparisons with the ResNet. Nobody publishes weights for it.

use lookout_config::{BatchNorms, Task};

use super::{ArchSpec, Builder, LossFamily};
use crate::{
    labels::IMAGENET_CLASSES,
    random::ClassLogits,
    resnet::{LAYOUT, ResNetConfig},
    resnet_block::BlockKind,
};

pub(super) const SPEC: ArchSpec = ArchSpec {
    name: "plain34",
    task: Task::Classification,
    builder: Builder::ResNet(ResNetConfig::new(BlockKind::Plain, [3, 4, 6, 3])),
    batch_norms: BatchNorms::Trained,
    loss: LossFamily::Classification,
    layout: LAYOUT,
    class_logits: ClassLogits::PLAIN,
    default_num_classes: IMAGENET_CLASSES,
    weights: &[],
    gflops: 3.64,
};
