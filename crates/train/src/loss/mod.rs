//! How wrong a network is: torchvision's losses, part by part, for each of its designs.
//!
//! What is ignored in a picture teaches nothing: an anchor, place or proposal that lies in it by half its area
//! or more, and is no match of anything else, is neither a positive nor a negative.

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

/// The losses of a batch by torchvision's names.
#[derive(Debug)]
pub struct Losses(Vec<(&'static str, Tensor)>);

impl Losses {
    pub fn parts(&self) -> &[(&'static str, Tensor)] {
        &self.0
    }

    /// What is trained for: their sum.
    pub fn total(&self) -> Tensor {
        let zero =
            Tensor::from(0.0_f32).to_device(self.0.first().map_or(tch::Device::Cpu, |(_, t)| t.device()));
        self.0.iter().fold(zero, |total, (_, part)| total + part)
    }
}

/// A network and what it is to learn do not belong together.
#[derive(Debug, Error)]
pub enum LossError {
    #[error("`{arch}` is no network that can be trained")]
    UnknownArch { arch: String },
    #[error("the batch holds {found}, and {arch} learns {wanted}")]
    WrongTruth { arch: String, wanted: &'static str, found: &'static str },
    #[error("the batch has the truth of {found} pictures, and there are {wanted}")]
    Count { wanted: i64, found: usize },
}

/// What a design of network is trained for.
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
    /// What `arch`, one of `lookout_config::ARCHS`, is trained for; `class_loss` is a classifier's.
    ///
    /// # Errors
    /// There is no such network.
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

    /// What `network` says of `x` `[N, 3, H, W]`, normalized, held against the truth; differentiable. Samples
    /// are drawn by `choose`.
    ///
    /// # Errors
    /// `truth` is not of this kind of network, or not of these pictures.
    ///
    /// # Panics
    /// Where libtorch refuses, as `tch`'s operators do.
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
