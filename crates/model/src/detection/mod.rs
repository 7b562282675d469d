//! The detectors on a ResNet-50 with a feature pyramid, as torchvision has them.
//!
//! A network says something of every anchor or proposal ([`DetectorOutputs`]); reading that for what is in
//! the pictures is the same for training and inference, and has its own settings.
//!
//! In fp32 the boxes are torchvision's. In bf16 the logits are off by 1 to 2 % of their spread, as in
//! torchvision's own networks in bf16. A box that is found is the same to an IoU above 0.95; but where two
//! candidates on one another score almost the same, the other one may win. On random weights, which make many
//! such pairs, 94 to 98 % of RetinaNet's boxes above 0.3 are found with an IoU above 0.95 and 98.6 to 100 %
//! above 0.5 (torchvision in bf16: 93 to 99 %, and the same).

mod anchors;
mod coder;
mod dense;
mod faster_rcnn;
mod fcos;
mod found;
mod fpn;
mod nms;
mod old_names;
mod retinanet;
mod roi_align;
mod rpn;
mod settings;
mod tower;

use lookout_fused::{
    FusedError,
    cuda::{DetectionRules, LevelReading},
};
use tch::{Tensor, nn};

pub(crate) use self::old_names::modernize;
use self::{anchors::Extent, faster_rcnn::FasterRcnn, fcos::Fcos, retinanet::RetinaNet};
pub use self::{
    coder::{BoxCoder, decode_distances, encode_distances},
    dense::{DenseHeads, DenseOutputs},
    faster_rcnn::{FasterRcnnOutputs, Pick, RoiHeads},
    found::Detections,
    rpn::{Proposals, RpnHeads},
    settings::{DetectionSettings, ProposalSettings},
};
use crate::{
    kernel::BLOCK_CHANNELS,
    norm::{EPS, NormKind},
    target::Target,
    weights::StateDict,
};

/// The classes of torchvision's COCO weights: 80, and the numbers that COCO left out, and the background.
pub(crate) const COCO_CLASSES: i64 = 91;

/// A detector's design.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DetectorKind {
    RetinaNet(Version),
    Fcos,
    FasterRcnn(Version),
}

/// torchvision's first and second design of a detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

impl DetectorKind {
    /// How torchvision reads its outputs.
    pub(crate) fn settings(self) -> DetectionSettings {
        let retinanet = DetectionSettings::default();
        match self {
            Self::RetinaNet(_) => retinanet,
            Self::Fcos => {
                DetectionSettings { score_threshold: 0.2, nms_iou: 0.6, max_detections: 100, ..retinanet }
            }
            Self::FasterRcnn(_) => DetectionSettings { max_detections: 100, ..retinanet },
        }
    }

    /// The parameter with one number for each class and anchor.
    const fn class_bias(self) -> (&'static str, i64) {
        match self {
            Self::RetinaNet(_) => ("head.classification_head.cls_logits.bias", 9),
            Self::Fcos => ("head.classification_head.cls_logits.bias", 1),
            Self::FasterRcnn(_) => ("roi_heads.box_predictor.cls_score.bias", 1),
        }
    }
}

/// What a detector is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DetectorSpec {
    pub(crate) version: Version,
    pub(crate) classes: i64,
    /// Of the first designs' frozen norms.
    pub(crate) frozen_eps: f64,
}

/// How the SHA-256 of files begins that were trained when torchvision's frozen norms added nothing to the
/// variance; torchvision sets `eps` to zero for just these (`overwrite_eps`).
const TRAINED_WITHOUT_EPS: [&str; 2] = ["sha256:eeacb38b", "sha256:258fb6c6"];

impl DetectorSpec {
    /// As a state dict needs it. What is missing or misshapen there is told with all the rest.
    fn for_state(kind: DetectorKind, state: &StateDict) -> Self {
        let (bias, each) = kind.class_bias();
        let classes = match state.tensors.get(bias).map(Tensor::size).as_deref() {
            Some([numbers]) if numbers % each == 0 && *numbers > 0 => numbers / each,
            _ => COCO_CLASSES,
        };
        let without = TRAINED_WITHOUT_EPS.iter().any(|begin| state.digest.starts_with(begin));
        Self { frozen_eps: if without { 0.0 } else { EPS }, ..Self::new(kind, classes) }
    }

    fn new(kind: DetectorKind, classes: i64) -> Self {
        let version = match kind {
            DetectorKind::RetinaNet(version) | DetectorKind::FasterRcnn(version) => version,
            DetectorKind::Fcos => Version::V1,
        };
        Self { version, classes, frozen_eps: EPS }
    }

    fn frozen(&self) -> NormKind {
        NormKind::FrozenBatch { eps: self.frozen_eps }
    }
}

/// Pictures for a detector.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pictures<'a> {
    /// `[N, 3, H, W]`, normalized.
    pub(crate) x: &'a Tensor,
    /// The pictures' own height and width at the top left of `x`; what is beyond is padding, where no box
    /// reaches.
    pub(crate) extent: Extent,
}

impl<'a> Pictures<'a> {
    /// Pictures without padding.
    pub(crate) fn whole(x: &'a Tensor) -> Self {
        Self { x, extent: extent(x) }
    }
}

/// The height and width of `[N, C, H, W]`; of an input in blocks of 2x2 pixels, those of its pixels.
pub(crate) fn extent(x: &Tensor) -> Extent {
    match x.size()[..] {
        [_, BLOCK_CHANNELS, height, width] => [height, width].map(|blocks| (blocks - 3) * 2),
        [.., height, width] => [height, width],
        _ => [0, 0],
    }
}

/// A detector with its parameters.
#[derive(Debug, Clone)]
pub(crate) struct DetectorNet {
    kind: DetectorKind,
    classes: i64,
    body: Body,
}

#[derive(Debug, Clone)]
enum Body {
    RetinaNet(Box<RetinaNet>),
    Fcos(Box<Fcos>),
    FasterRcnn(Box<FasterRcnn>),
}

/// A detector's outputs, not yet read.
#[derive(Debug)]
pub enum DetectorOutputs {
    Dense(DenseOutputs),
    FasterRcnn(FasterRcnnOutputs),
}

impl DetectorNet {
    /// A detector for `classes` classes, the background among them where there is one.
    pub(crate) fn new(path: &nn::Path<'_>, kind: DetectorKind, classes: i64) -> Self {
        Self::build(path, kind, DetectorSpec::new(kind, classes))
    }

    /// The detector that `state` is one of.
    pub(crate) fn for_state(path: &nn::Path<'_>, kind: DetectorKind, state: &StateDict) -> Self {
        Self::build(path, kind, DetectorSpec::for_state(kind, state))
    }

    fn build(path: &nn::Path<'_>, kind: DetectorKind, spec: DetectorSpec) -> Self {
        let body = match kind {
            DetectorKind::RetinaNet(_) => Body::RetinaNet(Box::new(RetinaNet::new(path, spec))),
            DetectorKind::Fcos => Body::Fcos(Box::new(Fcos::new(path, spec))),
            DetectorKind::FasterRcnn(_) => Body::FasterRcnn(Box::new(FasterRcnn::new(path, spec))),
        };
        Self { kind, classes: spec.classes, body }
    }

    pub(crate) fn kind(&self) -> DetectorKind {
        self.kind
    }

    pub(crate) fn classes(&self) -> i64 {
        self.classes
    }

    /// The heads' outputs, differentiable but for Faster R-CNN's proposals, which `proposals` decides about.
    /// With a `pick` it is training: norms take the batch's own statistics, and `pick` says which proposals
    /// Faster R-CNN's second stage looks at.
    pub(crate) fn forward(
        &self,
        pictures: Pictures<'_>,
        proposals: &ProposalSettings,
        pick: Option<&mut Pick<'_>>,
    ) -> DetectorOutputs {
        let train = pick.is_some();
        match &self.body {
            Body::RetinaNet(net) => DetectorOutputs::Dense(net.forward(pictures.x, train)),
            Body::Fcos(net) => DetectorOutputs::Dense(net.forward(pictures.x, train)),
            Body::FasterRcnn(net) => DetectorOutputs::FasterRcnn(net.forward(pictures, proposals, pick)),
        }
    }

    /// Makes every layer ready for inference on `target`, for good.
    pub(crate) fn prepare(&mut self, target: Target) {
        match &mut self.body {
            Body::RetinaNet(net) => net.prepare(target),
            Body::Fcos(net) => net.prepare(target),
            Body::FasterRcnn(net) => net.prepare(target),
        }
    }
}

/// How a detector's outputs for images of `extent` are read on a GPU, where the GPU's kernels can.
pub(crate) fn device_reading(
    kind: DetectorKind,
    settings: &DetectionSettings,
    extent: Extent,
) -> Option<LevelReading> {
    let distances = match kind {
        DetectorKind::RetinaNet(_) => false,
        DetectorKind::Fcos => true,
        // Its proposals go through the host between its two stages.
        DetectorKind::FasterRcnn(_) => return None,
    };
    LevelReading::new(DetectionRules {
        distances,
        score_threshold: settings.score_threshold,
        per_level: settings.candidates_per_level,
        max_detections: settings.max_detections,
        iou: settings.nms_iou,
        size: extent,
    })
}

impl DetectorOutputs {
    /// What is in the images, read on the GPU by `reading`: see [`LevelReading::apply`]. With it the anchors, which the
    /// work reads.
    pub(crate) fn read_on_device(
        &self,
        reading: &LevelReading,
    ) -> Option<Result<(Tensor, Vec<Tensor>), FusedError>> {
        match self {
            Self::Dense(outputs) => Some(outputs.read_on_device(reading)),
            Self::FasterRcnn(_) => None,
        }
    }

    /// The outputs by torchvision's names; see [`DenseOutputs`] and [`FasterRcnnOutputs`].
    pub fn named(&self) -> Vec<(&'static str, Tensor)> {
        match self {
            Self::Dense(outputs) => outputs.named(),
            Self::FasterRcnn(outputs) => outputs.named(),
        }
    }

    /// What is in pictures of `picture` pixels, one after the other.
    pub(crate) fn read(&self, picture: Extent, settings: &DetectionSettings) -> Vec<Detections> {
        match self {
            Self::Dense(outputs) => outputs.read(picture, settings),
            Self::FasterRcnn(outputs) => outputs.read(picture, settings),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tch::{Device, Kind};

    use super::*;

    fn spec(kind: DetectorKind, bias: i64, digest: &str) -> DetectorSpec {
        let bias = Tensor::zeros([bias], (Kind::Float, Device::Cpu));
        let tensors = BTreeMap::from([(kind.class_bias().0.to_owned(), bias)]);
        DetectorSpec::for_state(kind, &StateDict { tensors, digest: digest.to_owned() })
    }

    #[test]
    fn the_weights_decide_how_many_classes_there_are() {
        assert_eq!(spec(DetectorKind::RetinaNet(Version::V2), 9 * 7, "").classes, 7);
        assert_eq!(spec(DetectorKind::FasterRcnn(Version::V1), 7, "").classes, 7);
        // Nine anchors do not share ten numbers; the misfit is told when the weights are applied.
        assert_eq!(spec(DetectorKind::RetinaNet(Version::V1), 10, "").classes, COCO_CLASSES);
    }

    #[test]
    fn the_published_first_designs_were_trained_without_eps() {
        let eps = |digest| spec(DetectorKind::RetinaNet(Version::V1), 9 * 91, digest).frozen_eps;
        assert_eq!(eps("sha256:eeacb38b00"), 0.0);
        assert_eq!(eps("sha256:0000000000"), EPS);
    }
}
