//! Wide ResNet-50-2: Zagoruyko and Komodakis 2016 (<https://arxiv.org/abs/1605.07146>). It is a ResNet-50 with twice as many
//! channels in the 3x3 convolutions.

use lookout_config::{BatchNorms, Task};

use super::{ArchSpec, Builder, LossFamily};
use crate::{
    labels::IMAGENET_CLASSES,
    random::ClassLogits,
    resnet::{LAYOUT, ResNetConfig},
    weights::Published,
};

pub(super) const SPEC: ArchSpec = ArchSpec {
    name: "wide_resnet50_2",
    task: Task::Classification,
    builder: Builder::ResNet(ResNetConfig { width_per_group: 128, ..ResNetConfig::RESNET50 }),
    batch_norms: BatchNorms::Trained,
    loss: LossFamily::Classification,
    layout: LAYOUT,
    class_logits: ClassLogits::PLAIN,
    default_num_classes: IMAGENET_CLASSES,
    weights: &[
        Published::imagenet_v1("wide_resnet50_2", "wide_resnet50_2-95faca4d.pth", 131.82, 78.468, 94.086),
        Published::imagenet_v2("wide_resnet50_2", "wide_resnet50_2-9ba9bcbe.pth", 263.124, 81.602, 95.758),
    ],
    gflops: 11.40,
};
