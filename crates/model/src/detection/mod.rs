//! ResNet-50 detectors with a feature pyramid (FPN), equal to torchvision's.
//!
//! A network produces raw outputs for each anchor or proposal ([`DetectorOutputs`]). Postprocessing, `read` in
//! the code, turns them into detections. It is the same in training and inference, and has its own settings
//! ([`DetectionSettings`]).
//!
//! In fp32 the boxes equal torchvision's. In bf16 the logits differ by 1 to 2 % of their spread, as in
//! torchvision's own networks in bf16. A detected box has an IoU above 0.95 with its fp32 counterpart, except
//! where two overlapping candidates have almost the same score: there, NMS may keep the other one. On random
//! weights, which produce many such pairs, 94 to 98 % of RetinaNet's boxes with a score above 0.3 are matched
//! with an IoU above 0.95, and 98.6 to 100 % with an IoU above 0.5 (torchvision in bf16: 93 to 99 %, and the
//! same).

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

/// Number of classes in torchvision's COCO weights: the 80 classes, the category numbers that COCO does not
/// use, and the background.
pub(crate) const COCO_CLASSES: i64 = 91;

/// The design of a detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DetectorKind {
    RetinaNet(Version),
    Fcos,
    FasterRcnn(Version),
}

/// torchvision's first or second version of a detector's design.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

impl DetectorKind {
    /// Returns torchvision's postprocessing settings for this design.
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

    /// Returns the name of the classification bias, and how many of its elements belong to one class.
    const fn class_bias(self) -> (&'static str, i64) {
        match self {
            Self::RetinaNet(_) => ("head.classification_head.cls_logits.bias", 9),
            Self::Fcos => ("head.classification_head.cls_logits.bias", 1),
            Self::FasterRcnn(_) => ("roi_heads.box_predictor.cls_score.bias", 1),
        }
    }
}

/// The parameters that determine a detector's layers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DetectorSpec {
    pub(crate) version: Version,
    pub(crate) classes: i64,
    /// Epsilon of the frozen batch norms in the first versions.
    pub(crate) frozen_eps: f64,
}

/// Digest prefixes of the files that were trained when torchvision's frozen batch norms added no epsilon to the
/// variance. torchvision sets `eps` to zero for exactly these files (`overwrite_eps`).
const TRAINED_WITHOUT_EPS: [&str; 2] = ["sha256:eeacb38b", "sha256:258fb6c6"];

impl DetectorSpec {
    /// Returns the spec that fits a state dict. A class bias that is missing or has an unexpected size is not
    /// an error here: it is reported with all other mismatches when the weights are applied.
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

/// A batch of images for a detector.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pictures<'a> {
    /// `[N, 3, H, W]`, normalized.
    pub(crate) x: &'a Tensor,
    /// Height and width of the images, which lie at the top left of `x`. The rest of `x` is padding, and no box
    /// extends into it.
    pub(crate) extent: Extent,
}

impl<'a> Pictures<'a> {
    /// Wraps images without padding.
    pub(crate) fn whole(x: &'a Tensor) -> Self {
        Self { x, extent: extent(x) }
    }
}

/// Returns the height and width of `[N, C, H, W]` in pixels, also for an input in blocks of 2x2 pixels.
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

/// The raw outputs of a detector, before postprocessing.
#[derive(Debug)]
pub enum DetectorOutputs {
    Dense(DenseOutputs),
    FasterRcnn(FasterRcnnOutputs),
}

impl DetectorNet {
    /// Creates a detector for `classes` classes, including the background if the design has a background class.
    pub(crate) fn new(path: &nn::Path<'_>, kind: DetectorKind, classes: i64) -> Self {
        Self::build(path, kind, DetectorSpec::new(kind, classes))
    }

    /// Creates the detector that fits the state dict `state`.
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

    /// Runs the network and returns the raw outputs of its heads. They are differentiable, except Faster
    /// R-CNN's proposals, which are selected according to `proposals`.
    ///
    /// With a `pick`, the network runs in training mode: norms use the batch's own statistics, and `pick`
    /// selects the proposals on which Faster R-CNN's second stage runs.
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

    /// Prepares every layer for inference on `target`. This cannot be undone.
    pub(crate) fn prepare(&mut self, target: Target) {
        match &mut self.body {
            Body::RetinaNet(net) => net.prepare(target),
            Body::Fcos(net) => net.prepare(target),
            Body::FasterRcnn(net) => net.prepare(target),
        }
    }
}

/// Returns the GPU postprocessing for images of `extent`, or `None` if the GPU kernels do not support it.
pub(crate) fn device_reading(
    kind: DetectorKind,
    settings: &DetectionSettings,
    extent: Extent,
) -> Option<LevelReading> {
    let distances = match kind {
        DetectorKind::RetinaNet(_) => false,
        DetectorKind::Fcos => true,
        // Faster R-CNN's proposals pass through the host between its two stages.
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
    /// Runs the postprocessing `reading` on the GPU; see [`LevelReading::apply`]. Returns its result together
    /// with the anchors, which the GPU work reads. Returns `None` for Faster R-CNN.
    pub(crate) fn read_on_device(
        &self,
        reading: &LevelReading,
    ) -> Option<Result<(Tensor, Vec<Tensor>), FusedError>> {
        match self {
            Self::Dense(outputs) => Some(outputs.read_on_device(reading)),
            Self::FasterRcnn(_) => None,
        }
    }

    /// Returns the outputs by torchvision's names; see [`DenseOutputs`] and [`FasterRcnnOutputs`].
    pub fn named(&self) -> Vec<(&'static str, Tensor)> {
        match self {
            Self::Dense(outputs) => outputs.named(),
            Self::FasterRcnn(outputs) => outputs.named(),
        }
    }

    /// Postprocesses the outputs and returns the detections of each image. `picture` is the height and width of
    /// the images in pixels.
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
    fn number_of_classes_comes_from_the_weights() {
        assert_eq!(spec(DetectorKind::RetinaNet(Version::V2), 9 * 7, "").classes, 7);
        assert_eq!(spec(DetectorKind::FasterRcnn(Version::V1), 7, "").classes, 7);
        // Ten is not a multiple of nine anchors. The mismatch is reported when the weights are applied.
        assert_eq!(spec(DetectorKind::RetinaNet(Version::V1), 10, "").classes, COCO_CLASSES);
    }

    #[test]
    fn published_v1_weights_use_no_eps() {
        let eps = |digest| spec(DetectorKind::RetinaNet(Version::V1), 9 * 91, digest).frozen_eps;
        assert_eq!(eps("sha256:eeacb38b00"), 0.0);
        assert_eq!(eps("sha256:0000000000"), EPS);
    }
}
