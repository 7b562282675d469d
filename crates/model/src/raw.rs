//! Files of raw inputs and outputs, to compare a network with another implementation.

use std::{
    iter::repeat_n,
    path::{Path, PathBuf},
};

use tch::{Device, Kind, TchError, Tensor};
use thiserror::Error;

use crate::{
    ModelError, PreparedNetwork, ScriptBoxes, ScriptOutput,
    detection::{Detections, extent},
    libtorch_error::caught,
};

/// An error while a raw input or output was read or written.
#[derive(Debug, Error)]
pub enum RawError {
    #[error("{} cannot be read as .safetensors", path.display())]
    Read { path: PathBuf, source: TchError },
    #[error("{} holds no tensor `x`; it holds {found:?}", path.display())]
    NoInput { path: PathBuf, found: Vec<String> },
    #[error(
        "`x` in {} is {size:?} of {kind:?}; it has to be [N, 3, H, W] of Float, N at least 1, H and W at \
         least {MIN_SIDE}", path.display()
    )]
    Misshapen { path: PathBuf, size: Vec<i64>, kind: Kind },
    #[error("{} cannot be written", path.display())]
    Write { path: PathBuf, source: TchError },
}

/// Minimum height and width of an image: the networks' last stage has a stride of 32.
const MIN_SIDE: i64 = 32;

/// A normalized input `x` `[N, 3, H, W]` in fp32.
#[derive(Debug)]
pub struct RawInput(Tensor);

impl RawInput {
    /// Reads the tensor `x` of a `.safetensors` file.
    ///
    /// # Errors
    /// The file cannot be read, or `x` is missing or has another shape or dtype.
    pub fn read(path: &Path) -> Result<Self, RawError> {
        let tensors = Tensor::read_safetensors(path)
            .map_err(|source| RawError::Read { path: path.to_owned(), source })?;
        let found = || tensors.iter().map(|(name, _)| name.clone()).collect();
        let Some((_, x)) = tensors.iter().find(|(name, _)| name == "x") else {
            return Err(RawError::NoInput { path: path.to_owned(), found: found() });
        };
        match (x.size().as_slice(), x.kind()) {
            ([n, 3, height, width], Kind::Float) if *n >= 1 && *height.min(width) >= MIN_SIDE => {
                Ok(Self(x.shallow_clone()))
            }
            (size, kind) => Err(RawError::Misshapen { path: path.to_owned(), size: size.to_vec(), kind }),
        }
    }

    /// Returns the first `rows` images of `x`; `None` if `rows` is 0 or `x` has fewer.
    pub fn first(&self, rows: usize) -> Option<Self> {
        let rows = i64::try_from(rows).ok().filter(|rows| (1..=self.0.size()[0]).contains(rows))?;
        Some(Self(self.0.narrow(0, 0, rows)))
    }
}

/// A network's outputs before postprocessing, and for detectors and TorchScript modules also the detections.
#[derive(Debug)]
pub struct RawOutput {
    tensors: Vec<(&'static str, Tensor)>,
}

impl RawOutput {
    /// Writes the tensors to a `.safetensors` file.
    ///
    /// For a classifier, the file holds `logits` `[N, K]`. For a detector, it holds these tensors under torchvision's
    /// names:
    ///
    /// - RetinaNet: `cls_logits` `[N, sum(HWA), K]` and `bbox_regression` `[N, sum(HWA), 4]`, as its head returns them.
    /// - FCOS: as RetinaNet, and `bbox_ctrness` `[N, sum(HWA), 1]`.
    /// - Faster R-CNN: `objectness` `[N*sum(HWA), 1]` and `pred_bbox_deltas` `[N*sum(HWA), 4]`, as
    ///   `concat_box_prediction_layers` returns them; `class_logits` `[R, K]` and `box_regression` `[R, K*4]`, as the
    ///   box predictor returns them for the `R` proposals of all images; `proposals` `[R, 4]` and `proposal_image`
    ///   `[R]`.
    /// - All detectors: the detections of all images, `boxes` `[M, 4]` in pixels of the input, `scores` `[M]`, `labels`
    ///   `[M]` and `image` `[M]`, image by image and for each image in descending order of score.
    ///
    /// For a TorchScript module, the file holds `logits`, or `boxes`, `scores`, `labels` and `image` with all
    /// detections of the module in its own order.
    ///
    /// `labels`, `image` and `proposal_image` are int64, all other tensors are fp32.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), RawError> {
        Tensor::write_safetensors(&self.tensors, path)
            .map_err(|source| RawError::Write { path: path.to_owned(), source })
    }
}

impl PreparedNetwork {
    /// Computes the raw output for a raw input, which is not resized, normalized or padded.
    ///
    /// torchvision's detectors pad a batch to multiples of 32 pixels first. For a tensor with other sides, this
    /// function returns what torchvision's inner network returns for that tensor.
    ///
    /// # Errors
    /// libtorch or the TorchScript module returns an error.
    pub fn run_raw(&self, input: &RawInput) -> Result<RawOutput, ModelError> {
        let tensors = caught(|| match self {
            Self::Classifier(network) => Ok(vec![("logits", network.forward(&input.0))]),
            Self::Detector(network) => {
                let image_size = extent(&input.0);
                let outputs = network.forward(&input.0, image_size);
                let found = network.read(&outputs, image_size);
                Ok(outputs.named().into_iter().chain(found_tensors(&found)).collect())
            }
            Self::Script(network) => network.forward(&input.0).map(|output| match output {
                ScriptOutput::Logits(logits) => vec![("logits", logits)],
                ScriptOutput::Boxes(boxes) => script_tensors(&boxes).into(),
            }),
        });
        let tensors: Vec<_> = tensors.map_err(|reason| ModelError::Network { reason })??;
        let written = |(name, tensor): (&'static str, Tensor)| {
            let kind = if tensor.kind() == Kind::Int64 { Kind::Int64 } else { Kind::Float };
            (name, tensor.to_device(Device::Cpu).to_kind(kind).contiguous())
        };
        Ok(RawOutput { tensors: tensors.into_iter().map(written).collect() })
    }
}

fn found_tensors(found: &[Detections]) -> [(&'static str, Tensor); 4] {
    let boxes: Vec<f32> = found.iter().flat_map(|found| found.boxes.iter().flatten().copied()).collect();
    let scores: Vec<f32> = found.iter().flat_map(|found| found.scores.iter().copied()).collect();
    let labels: Vec<i64> =
        found.iter().flat_map(|found| found.labels.iter().map(|label| i64::from(*label))).collect();
    named_tensors(&boxes, &scores, &labels, found.iter().map(Detections::len))
}

fn script_tensors(images: &[ScriptBoxes]) -> [(&'static str, Tensor); 4] {
    let boxes: Vec<f32> = images.iter().flat_map(|image| image.boxes.iter().flatten().copied()).collect();
    let scores: Vec<f32> = images.iter().flat_map(|image| image.scores.iter().copied()).collect();
    let labels: Vec<i64> = images.iter().flat_map(|image| image.labels.iter().copied()).collect();
    named_tensors(&boxes, &scores, &labels, images.iter().map(|image| image.scores.len()))
}

/// Returns `boxes` `[M, 4]`, `scores`, `labels` and `image` `[M]`. `counts` is the number of detections of each image.
fn named_tensors(
    boxes: &[f32],
    scores: &[f32],
    labels: &[i64],
    counts: impl Iterator<Item = usize>,
) -> [(&'static str, Tensor); 4] {
    let image: Vec<i64> = counts.zip(0..).flat_map(|(count, image)| repeat_n(image, count)).collect();
    [
        ("boxes", Tensor::from_slice(boxes).view([-1, 4])),
        ("scores", Tensor::from_slice(scores)),
        ("labels", Tensor::from_slice(labels)),
        ("image", Tensor::from_slice(&image)),
    ]
}
