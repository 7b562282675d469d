//! Errors of loading and running a network.

use std::{io, path::PathBuf};

use thiserror::Error;

use crate::{
    script_error::ScriptError,
    weights::{Misfit, WeightsError},
};

/// An error while a network was loaded or an image was processed.
#[derive(Debug, Error)]
pub enum ModelError {
    #[error(
        "unknown network `{arch}`; Lookout has {}, and runs other networks as `{}`",
        lookout_config::arch_list(),
        lookout_config::TORCHSCRIPT
    )]
    UnknownArch { arch: String },
    #[error(
        "there is no GPU {index}: libtorch sees {gpus}; use `device = \"cpu\"` or `\"auto\"`, or install the \
         driver and a libtorch with CUDA (`LOOKOUT_CUDA=1 make setup`)"
    )]
    NoSuchGpu { index: usize, gpus: usize },
    #[error("fp16 runs on GPUs only; use bf16, fp32 or auto on the CPU")]
    Fp16OnCpu,
    #[error(
        "`{0}` is not valid as `weights`; use `torchvision`, `random:SEED` with a whole number, or a weight file"
    )]
    UnknownWeights(String),
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error("{section} `weights`")]
    WeightsOf { section: &'static str, source: Box<WeightsError> },
    #[error("{section} `weights`: {file} does not fit {arch}: {advice}")]
    Misfit { section: &'static str, file: String, arch: String, advice: String, source: Box<Misfit> },
    #[error(transparent)]
    Script(#[from] ScriptError),
    #[error("the label file {} cannot be read", path.display())]
    Labels { path: PathBuf, source: io::Error },
    #[error(
        "{} names {found} classes and the network has {classes}; write one line per class, in the network's \
         order", path.display()
    )]
    LabelCount { path: PathBuf, found: usize, classes: usize },
    #[error("[classify] `classes` names `{class}`, which is not a class of the {arch} in [model]")]
    NoSuchClass { class: String, arch: String },
    #[error("[classify] needs a classifier, and {arch} is not one")]
    NoClassifier { arch: String },
    #[error("the network is a classifier, which has no separate backbone; load complete weights instead")]
    NoBackbone,
    #[error("the image {} cannot be read", path.display())]
    Image { path: PathBuf, source: image::ImageError },
    #[error("the image {} cannot be opened", path.display())]
    ImageFile { path: PathBuf, source: io::Error },
    #[error("the image {} cannot be read: it is {what}", path.display())]
    NotAnImage { path: PathBuf, what: String },
    #[error("the image {} is damaged: {what}; fetch it again, or remove it", path.display())]
    DamagedImage { path: PathBuf, what: String },
    #[error("the network was not loaded because the worker is stopping")]
    Cancelled,
    #[error("the network failed: {reason}")]
    Network { reason: String },
}
