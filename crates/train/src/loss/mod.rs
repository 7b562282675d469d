//! Training losses of all architectures, with the same parts as in torchvision.
//!
//! Ignored objects are excluded from the loss: an anchor, location or proposal with at least half of its area in one
//! (for FCOS, a location inside one) that matches no other object is neither positive nor negative.

mod boxes;
mod classification;
mod faster_rcnn;
mod fcos;
mod focal;
mod matching;
mod retinanet;
mod sampler;
mod truth;

use lookout_model::{
    DetectorOutputs, ModelError, Network, Outputs,
    archs::{ArchSpec, LossFamily},
};
use tch::{Kind, Tensor};
use thiserror::Error;

pub use self::{
    classification::{ClassLoss, ClassLossKind},
    sampler::{RandomSubsetSampler, SubsetSampler},
    truth::{ObjectTensors, Truth},
};
use self::{faster_rcnn::RoiTargets, retinanet::BoxLoss};

/// The losses of a batch, with torchvision's names.
#[derive(Debug)]
pub struct Losses(Vec<(&'static str, Tensor)>);

impl Losses {
    pub fn parts(&self) -> &[(&'static str, Tensor)] {
        &self.0
    }

    /// Returns the sum of the parts, which is minimized.
    pub fn total(&self) -> Tensor {
        let zero =
            Tensor::from(0.0_f32).to_device(self.0.first().map_or(tch::Device::Cpu, |(_, t)| t.device()));
        self.0.iter().fold(zero, |total, (_, part)| total + part)
    }
}

/// Why the losses of a batch cannot be computed: the network and the ground truth do not match.
#[derive(Debug, Error)]
pub enum LossError {
    #[error(transparent)]
    UnknownArch(#[from] ModelError),
    #[error("the batch has {found}, and {arch} is trained on {wanted}")]
    WrongTruth { arch: &'static str, wanted: &'static str, found: &'static str },
    #[error("the batch has ground truth for {found} images, and it has {wanted} images")]
    Count { wanted: i64, found: usize },
}

/// The loss function of a network.
#[derive(Debug)]
pub struct Criterion {
    arch: &'static ArchSpec,
    /// The loss of a classifier.
    class_loss: ClassLoss,
}

impl Criterion {
    /// Creates the loss function of the network `arch`. `class_loss` applies to classifiers only.
    ///
    /// # Errors
    /// Returns an error if `arch` is not a built-in network.
    pub fn new(arch: &str, class_loss: ClassLoss) -> Result<Self, LossError> {
        Ok(Self { arch: ArchSpec::from_name(arch)?, class_loss })
    }

    /// Runs `network` on `x` `[N, 3, H, W]`, normalized, and returns the differentiable losses against `truth`.
    /// `sampler` samples the anchors and proposals of a Faster R-CNN.
    ///
    /// # Errors
    /// Returns an error if the kind of `truth` does not match the network, or its number of images does not match `x`.
    ///
    /// # Panics
    /// Panics where libtorch raises an error, as the operators of `tch` do.
    pub fn losses(
        &self,
        network: &Network,
        x: &Tensor,
        truth: &Truth,
        sampler: &mut dyn SubsetSampler,
    ) -> Result<Losses, LossError> {
        let (wanted, found) = (x.size()[0], truth.image_count());
        if usize::try_from(wanted) != Ok(found) {
            return Err(LossError::Count { wanted, found });
        }
        let mut roi_targets = None;
        let outputs = match (self.arch.loss, truth) {
            (LossFamily::FasterRcnn, Truth::Objects(objects)) => network.forward(x, &mut |proposals| {
                let (picked, targets) = RoiTargets::sample(&proposals, objects, sampler);
                roi_targets = Some(targets);
                picked
            }),
            _ => network.forward(x, &mut |proposals| proposals),
        };
        let parts = match (self.arch.loss, outputs, truth) {
            (LossFamily::Classification, Outputs::Logits(logits), Truth::Classes(classes)) => {
                vec![("classification", self.class_loss.of(&logits.to_kind(Kind::Float), classes))]
            }
            (family, Outputs::Detector(DetectorOutputs::Dense(outputs)), Truth::Objects(objects)) => {
                let heads = outputs.heads();
                match family {
                    LossFamily::RetinaNetL1 => retinanet::losses(&heads, objects, BoxLoss::L1),
                    LossFamily::RetinaNetGiou => retinanet::losses(&heads, objects, BoxLoss::Giou),
                    LossFamily::Fcos => fcos::losses(&heads, objects),
                    LossFamily::Classification | LossFamily::FasterRcnn => {
                        return Err(self.wrong_truth(truth));
                    }
                }
            }
            (
                LossFamily::FasterRcnn,
                Outputs::Detector(DetectorOutputs::FasterRcnn(outputs)),
                Truth::Objects(objects),
            ) => {
                let mut parts: Vec<_> =
                    roi_targets.iter().flat_map(|targets| targets.losses(&outputs.roi())).collect();
                parts.extend(faster_rcnn::rpn_losses(&outputs.rpn(), objects, sampler));
                parts
            }
            _ => return Err(self.wrong_truth(truth)),
        };
        Ok(Losses(parts))
    }

    fn wrong_truth(&self, truth: &Truth) -> LossError {
        let wanted = if self.arch.loss == LossFamily::Classification { "classes" } else { "objects" };
        LossError::WrongTruth { arch: self.arch.name, wanted, found: truth.kind() }
    }
}
