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
pub(crate) mod faster_rcnn;
pub(crate) mod fcos;
mod found;
mod fpn;
mod nms;
mod old_names;
pub(crate) mod retinanet;
mod roi_align;
mod rpn;
mod settings;
mod tower;

use lookout_fused::{
    FusedError,
    cuda::{DetectionRules, LevelReading},
};
use tch::Tensor;

pub(crate) use self::settings::SCORE_THRESHOLD;
use self::{anchors::Extent, dense::DenseCoder, faster_rcnn::FasterRcnn, fcos::Fcos, retinanet::RetinaNet};
pub use self::{
    coder::{BoxCoder, decode_distances, encode_distances},
    dense::{DenseHeads, DenseOutputs},
    faster_rcnn::{FasterRcnnOutputs, Pick, RoiHeads},
    found::Detections,
    rpn::{Proposals, RpnHeads},
    settings::{DetectionSettings, ProposalSettings},
};
use crate::{
    conv::Conv, conv_norm_act::ConvNormAct, kernel::BLOCK_CHANNELS, norm::NormKind,
    prepared_conv::PreparedConv, target::Target,
};

/// Prefix of the backbone's tensors in the state dict of every detector here.
const BACKBONE: &str = "backbone.body.";

/// Names of tensors that every detector here has, independent of its number of classes.
const LANDMARKS: [&str; 3] =
    ["backbone.body.conv1.weight", "backbone.body.bn1.running_mean", "backbone.body.layer4.0.conv1.weight"];

/// torchvision's first or second version of a detector's design.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

/// The parameters that a detector is created with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DetectorConfig {
    /// Includes the background if the design has a background class.
    pub(crate) num_classes: i64,
    /// Epsilon of the frozen batch norms in the first versions.
    pub(crate) frozen_eps: f64,
}

impl DetectorConfig {
    fn frozen(self) -> NormKind {
        NormKind::FrozenBatch { eps: self.frozen_eps }
    }
}

/// A batch of images for a detector.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InputImages<'a> {
    /// `[N, 3, H, W]`, normalized.
    pub(crate) x: &'a Tensor,
    /// Height and width of the images, which lie at the top left of `x`. The rest of `x` is padding, and no box
    /// extends into it.
    pub(crate) extent: Extent,
}

impl<'a> InputImages<'a> {
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
pub(crate) enum DetectorNet<C> {
    RetinaNet(Box<RetinaNet<C>>),
    Fcos(Box<Fcos<C>>),
    FasterRcnn(Box<FasterRcnn<C>>),
}

/// The raw outputs of a detector, before postprocessing.
#[derive(Debug)]
pub enum DetectorOutputs {
    Dense(DenseOutputs),
    FasterRcnn(FasterRcnnOutputs),
}

impl DetectorNet<ConvNormAct> {
    /// Sets the parameters to torchvision's initial values for `seed`.
    pub(crate) fn reset_parameters(&self, seed: u64) {
        match self {
            Self::RetinaNet(net) => net.reset_parameters(seed),
            Self::Fcos(net) => net.reset_parameters(seed),
            Self::FasterRcnn(net) => net.reset_parameters(seed),
        }
    }

    /// Converts every layer for inference on `target`.
    pub(crate) fn prepare(self, target: Target) -> DetectorNet<PreparedConv> {
        match self {
            Self::RetinaNet(net) => DetectorNet::RetinaNet(Box::new(net.prepare(target))),
            Self::Fcos(net) => DetectorNet::Fcos(Box::new(net.prepare(target))),
            Self::FasterRcnn(net) => DetectorNet::FasterRcnn(Box::new(net.prepare(target))),
        }
    }
}

impl<C: Conv> DetectorNet<C> {
    /// Runs the network and returns the raw outputs of its heads. They are differentiable, except Faster
    /// R-CNN's proposals, which are selected according to `proposals`.
    ///
    /// In training, `pick` selects the proposals on which Faster R-CNN's second stage runs.
    pub(crate) fn forward(
        &self,
        images: InputImages<'_>,
        proposals: &ProposalSettings,
        pick: Option<&mut Pick<'_>>,
    ) -> DetectorOutputs {
        match self {
            Self::RetinaNet(net) => DetectorOutputs::Dense(net.forward(images.x)),
            Self::Fcos(net) => DetectorOutputs::Dense(net.forward(images.x)),
            Self::FasterRcnn(net) => DetectorOutputs::FasterRcnn(net.forward(images, proposals, pick)),
        }
    }

    /// Returns the GPU postprocessing for images of `extent`, or `None` if the GPU kernels do not support it.
    pub(crate) fn device_reading(
        &self,
        settings: &DetectionSettings,
        extent: Extent,
    ) -> Option<LevelReading> {
        let coder = match self {
            Self::RetinaNet(_) => retinanet::CODER,
            Self::Fcos(_) => fcos::CODER,
            // Faster R-CNN's proposals pass through the host between its two stages.
            Self::FasterRcnn(_) => return None,
        };
        LevelReading::new(DetectionRules {
            distances: coder == DenseCoder::Distances,
            score_threshold: settings.score_threshold,
            per_level: settings.candidates_per_level,
            max_detections: settings.max_detections,
            iou: settings.nms_iou,
            size: extent,
        })
    }
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

    /// Postprocesses the outputs and returns the detections of each image. `image_size` is the height and width of
    /// the images in pixels.
    pub(crate) fn read(&self, image_size: Extent, settings: &DetectionSettings) -> Vec<Detections> {
        match self {
            Self::Dense(outputs) => outputs.read(image_size, settings),
            Self::FasterRcnn(outputs) => outputs.read(image_size, settings),
        }
    }
}
