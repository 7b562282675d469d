//! Raw inputs and outputs in files, to hold a network against another implementation.

use std::{
    iter::repeat_n,
    path::{Path, PathBuf},
};

use tch::{Device, Kind, TchError, Tensor};
use thiserror::Error;

use crate::{
    ModelError, PreparedNetwork, ScriptBoxes, ScriptOutput,
    detection::{Detections, extent},
    network::caught,
};

/// Why a raw input or output is none.
#[derive(Debug, Error)]
pub enum RawError {
    #[error("{} cannot be read as .safetensors", path.display())]
    Read { path: PathBuf, source: TchError },
    #[error("{} holds no tensor `x`; it holds {found:?}", path.display())]
    NoInput { path: PathBuf, found: Vec<String> },
    #[error(
        "`x` in {} is {size:?} of {kind:?}; it has to be [N, 3, H, W] of Float, N at least 1, H and W at \
         least {LEAST_SIDE}", path.display()
    )]
    Misshapen { path: PathBuf, size: Vec<i64>, kind: Kind },
    #[error("{} cannot be written", path.display())]
    Write { path: PathBuf, source: TchError },
}

/// Of smaller pictures the networks' last stage would see nothing.
const LEAST_SIDE: i64 = 32;

/// An already normalized `x` `[N, 3, H, W]` in fp32.
#[derive(Debug)]
pub struct RawInput(Tensor);

impl RawInput {
    /// Reads the tensor `x` of a `.safetensors` file.
    pub fn read(path: &Path) -> Result<Self, RawError> {
        let tensors = Tensor::read_safetensors(path)
            .map_err(|source| RawError::Read { path: path.to_owned(), source })?;
        let found = || tensors.iter().map(|(name, _)| name.clone()).collect();
        let Some((_, x)) = tensors.iter().find(|(name, _)| name == "x") else {
            return Err(RawError::NoInput { path: path.to_owned(), found: found() });
        };
        match (x.size().as_slice(), x.kind()) {
            ([n, 3, height, width], Kind::Float) if *n >= 1 && *height.min(width) >= LEAST_SIDE => {
                Ok(Self(x.shallow_clone()))
            }
            (size, kind) => Err(RawError::Misshapen { path: path.to_owned(), size: size.to_vec(), kind }),
        }
    }

    /// The first `rows` of `x`, where there are so many.
    pub fn first(&self, rows: usize) -> Option<Self> {
        let rows = i64::try_from(rows).ok().filter(|rows| (1..=self.0.size()[0]).contains(rows))?;
        Some(Self(self.0.narrow(0, 0, rows)))
    }
}

/// What a network says before anything is read into it, and of a detector also what is read into it.
#[derive(Debug)]
pub struct RawOutput {
    tensors: Vec<(&'static str, Tensor)>,
}

impl RawOutput {
    /// Writes the tensors to a `.safetensors` file.
    ///
    /// Of a classifier `logits` `[N, K]`. Of a detector, by torchvision's names:
    ///
    /// | detector | tensors |
    /// |---|---|
    /// | RetinaNet | `cls_logits` `[N, sum(HWA), K]`, `bbox_regression` `[N, sum(HWA), 4]`, as its head gives them |
    /// | FCOS | the same, and `bbox_ctrness` `[N, sum(HWA), 1]` |
    /// | Faster R-CNN | `objectness` `[N*sum(HWA), 1]`, `pred_bbox_deltas` `[N*sum(HWA), 4]`, as `concat_box_prediction_layers` gives them; `class_logits` `[R, K]`, `box_regression` `[R, K*4]`, as the box predictor gives them for the `R` proposals of all pictures, and beside them `proposals` `[R, 4]` and `proposal_image` `[R]` |
    /// | all | `boxes` `[M, 4]` in pixels of the input, `scores` `[M]`, `labels` `[M]`, `image` `[M]`: what is in the pictures, one after the other, and in each the most certain first |
    ///
    /// Of a TorchScript module `logits`, or `boxes`, `scores`, `labels` and `image` as it gives them, all of them
    /// and in its own order.
    ///
    /// Counts are int64, all else is fp32.
    pub fn write(&self, path: &Path) -> Result<(), RawError> {
        Tensor::write_safetensors(&self.tensors, path)
            .map_err(|source| RawError::Write { path: path.to_owned(), source })
    }
}

impl PreparedNetwork {
    /// Computes the raw output for a raw input. Nothing is resized, normalized or padded.
    ///
    /// torchvision's detectors pad a batch to multiples of 32 pixels before they begin; on a tensor with
    /// other sides, this gives what the network inside of them gives on that tensor.
    pub fn run_raw(&self, input: &RawInput) -> Result<RawOutput, ModelError> {
        let tensors = caught(|| match self {
            Self::Classifier(network) => Ok(vec![("logits", network.forward(&input.0))]),
            Self::Detector(network) => {
                let picture = extent(&input.0);
                let outputs = network.forward(&input.0, picture);
                let found = network.read(&outputs, picture);
                Ok(outputs.named().into_iter().chain(found_tensors(&found)).collect())
            }
            Self::Script(network) => network.forward(&input.0).map(|said| match said {
                ScriptOutput::Logits(logits) => vec![("logits", logits)],
                ScriptOutput::Boxes(said) => said_tensors(&said).into(),
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

fn said_tensors(said: &[ScriptBoxes]) -> [(&'static str, Tensor); 4] {
    let boxes: Vec<f32> = said.iter().flat_map(|said| said.boxes.iter().flatten().copied()).collect();
    let scores: Vec<f32> = said.iter().flat_map(|said| said.scores.iter().copied()).collect();
    let labels: Vec<i64> = said.iter().flat_map(|said| said.labels.iter().copied()).collect();
    named_tensors(&boxes, &scores, &labels, said.iter().map(|said| said.scores.len()))
}

/// `boxes` `[M, 4]`, `scores`, `labels` and `image` `[M]`; `counts` is how many there are of each picture.
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
