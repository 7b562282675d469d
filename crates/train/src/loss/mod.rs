//! Training losses of all architectures, with the same parts as in torchvision.
//!
//! Ignored objects are excluded from the loss: an anchor, location or proposal with at least half of its area in one
//! (for FCOS, a location inside one) that matches no other object is neither positive nor negative.

mod boxes;
mod choose;
mod classification;
mod faster_rcnn;
mod fcos;
mod focal;
mod matching;
mod retinanet;
mod truth;

use lookout_config::CLASSIFIERS;
use lookout_model::{DetectorOutputs, Network, Outputs};
use tch::{Kind, Tensor};
use thiserror::Error;

pub use self::{
    choose::{Choose, Dice},
    classification::{ClassLoss, ClassLossKind},
    truth::{ObjectTensors, Truth},
};
use self::{faster_rcnn::Second, retinanet::BoxLoss};

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
    #[error("`{arch}` cannot be trained")]
    UnknownArch { arch: String },
    #[error("the batch has {found}, and {arch} is trained on {wanted}")]
    WrongTruth { arch: String, wanted: &'static str, found: &'static str },
    #[error("the batch has ground truth for {found} images, and it has {wanted} images")]
    Count { wanted: i64, found: usize },
}

/// The loss function of a network.
#[derive(Debug)]
pub struct Criterion {
    arch: String,
    design: Design,
}

#[derive(Debug)]
enum Design {
    Classifier(ClassLoss),
    RetinaNet(BoxLoss),
    Fcos,
    FasterRcnn,
}

impl Criterion {
    /// Creates the loss function of `arch`, one of `lookout_config::ARCHS`. `class_loss` applies to classifiers only.
    ///
    /// # Errors
    /// Returns an error if `arch` is unknown.
    pub fn new(arch: &str, class_loss: ClassLoss) -> Result<Self, LossError> {
        let design = match arch {
            "retinanet_resnet50_fpn" => Design::RetinaNet(BoxLoss::Deltas),
            "retinanet_resnet50_fpn_v2" => Design::RetinaNet(BoxLoss::Overlap),
            "fcos_resnet50_fpn" => Design::Fcos,
            "fasterrcnn_resnet50_fpn" | "fasterrcnn_resnet50_fpn_v2" => Design::FasterRcnn,
            _ if CLASSIFIERS.contains(&arch) => Design::Classifier(class_loss),
            _ => return Err(LossError::UnknownArch { arch: arch.to_owned() }),
        };
        Ok(Self { arch: arch.to_owned(), design })
    }

    /// Runs `network` on `x` `[N, 3, H, W]`, normalized, and returns the differentiable losses against `truth`.
    /// `choose` samples the anchors and proposals of a Faster R-CNN.
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
        choose: &mut dyn Choose,
    ) -> Result<Losses, LossError> {
        let (wanted, found) = (x.size()[0], truth.pictures());
        if usize::try_from(wanted) != Ok(found) {
            return Err(LossError::Count { wanted, found });
        }
        let mut second = None;
        let outputs = match (&self.design, truth) {
            (Design::FasterRcnn, Truth::Objects(objects)) => network.forward(x, &mut |proposals| {
                let (picked, targets) = Second::sample(&proposals, objects, choose);
                second = Some(targets);
                picked
            }),
            _ => network.forward(x, &mut |proposals| proposals),
        };
        let parts = match (&self.design, outputs, truth) {
            (Design::Classifier(loss), Outputs::Logits(logits), Truth::Classes(classes)) => {
                vec![("classification", loss.of(&logits.to_kind(Kind::Float), classes))]
            }
            (
                Design::RetinaNet(boxes),
                Outputs::Detector(DetectorOutputs::Dense(outputs)),
                Truth::Objects(objects),
            ) => retinanet::losses(&outputs.heads(), objects, *boxes),
            (Design::Fcos, Outputs::Detector(DetectorOutputs::Dense(outputs)), Truth::Objects(objects)) => {
                fcos::losses(&outputs.heads(), objects)
            }
            (
                Design::FasterRcnn,
                Outputs::Detector(DetectorOutputs::FasterRcnn(outputs)),
                Truth::Objects(objects),
            ) => {
                let mut parts: Vec<_> =
                    second.iter().flat_map(|second| second.losses(&outputs.roi())).collect();
                parts.extend(faster_rcnn::first_losses(&outputs.rpn(), objects, choose));
                parts
            }
            _ => return Err(self.wrong_truth(truth)),
        };
        Ok(Losses(parts))
    }

    fn wrong_truth(&self, truth: &Truth) -> LossError {
        let wanted = if matches!(self.design, Design::Classifier(_)) { "classes" } else { "objects" };
        LossError::WrongTruth { arch: self.arch.clone(), wanted, found: truth.kind() }
    }
}
