//! ResNeXt-50 (32x4d): Xie, Girshick, Dollár, Tu and He 2016 (<https://arxiv.org/abs/1611.05431>), table 1. It is a
//! ResNet-50 whose 3x3 convolutions have 32 groups of 4 channels in the first stage.

use lookout_config::{BatchNorms, Task};

use super::{ArchSpec, Builder, LossFamily};
use crate::{
    labels::IMAGENET_CLASSES,
    random::ClassLogits,
    resnet::{LAYOUT, ResNetConfig},
    weights::Published,
};

pub(super) const SPEC: ArchSpec = ArchSpec {
    name: "resnext50_32x4d",
    task: Task::Classification,
    builder: Builder::ResNet(ResNetConfig { groups: 32, width_per_group: 4, ..ResNetConfig::RESNET50 }),
    batch_norms: BatchNorms::Trained,
    loss: LossFamily::Classification,
    layout: LAYOUT,
    class_logits: ClassLogits::PLAIN,
    default_num_classes: IMAGENET_CLASSES,
    weights: &[
        Published::imagenet_v1("resnext50_32x4d", "resnext50_32x4d-7cdf4587.pth", 95.789, 77.618, 93.698),
        Published::imagenet_v2("resnext50_32x4d", "resnext50_32x4d-1a0047aa.pth", 95.833, 81.198, 95.340),
    ],
    gflops: 4.23,
};
