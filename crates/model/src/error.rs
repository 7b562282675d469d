//! Errors of loading and running a network.

use std::{io, path::PathBuf};

use thiserror::Error;

use crate::{
    torchscript::ScriptError,
    weights::{Misfit, WeightsError},
};

/// An error while a network was loaded or an image was processed.
#[derive(Debug, Error)]
pub enum ModelError {
    #[error(
        "`{arch}` is no network that Lookout has; it has {}, and takes others as `{}`",
        lookout_config::ARCHS.join(", "), lookout_config::TORCHSCRIPT
    )]
    UnknownArch { arch: String },
    #[error(
        "there is no GPU {index}: libtorch sees {gpus}; take `device = \"cpu\"` or `\"auto\"`, or see that \
         the driver and a libtorch with CUDA are installed (`LOOKOUT_CUDA=1 make setup`)"
    )]
    NoSuchGpu { index: usize, gpus: usize },
    #[error("fp16 runs on GPUs only; take bf16, fp32 or auto on the CPU")]
    Fp16OnCpu,
    #[error("`{0}` is neither `torchvision`, `random:SEED` nor a file of weights")]
    UnknownWeights(String),
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error("{section} `weights`")]
    WeightsOf { section: &'static str, source: Box<WeightsError> },
    #[error("{section} `weights`: {file} does not fit {arch}: {advice}")]
    Misfit { section: &'static str, file: String, arch: String, advice: String, source: Box<Misfit> },
    #[error(transparent)]
    Script(#[from] ScriptError),
    #[error("the labels {} cannot be read", path.display())]
    Labels { path: PathBuf, source: io::Error },
    #[error(
        "{} names {found} classes and the network has {classes}; the file has to have a line for each class, \
         in the network's order", path.display()
    )]
    LabelCount { path: PathBuf, found: usize, classes: usize },
    #[error("[classify] `classes` names `{class}`, which is no class of the {arch} in [model]")]
    NoSuchClass { class: String, arch: String },
    #[error("[classify] takes a classifier, and {arch} is none")]
    NoClassifier { arch: String },
    #[error("the network is a classifier, and a classifier's weights are no backbone of it; load them whole")]
    NoBackbone,
    #[error("the picture {} cannot be read", path.display())]
    Picture { path: PathBuf, source: image::ImageError },
    #[error("the picture {} cannot be opened", path.display())]
    PictureFile { path: PathBuf, source: io::Error },
    #[error("the picture {} cannot be read: it is {what}", path.display())]
    NotAPicture { path: PathBuf, what: String },
    #[error("the picture {} is damaged: {what}; fetch it again, or take it out", path.display())]
    DamagedPicture { path: PathBuf, what: String },
    #[error("the network was not loaded: the worker was told to stop")]
    Cancelled,
    #[error("the network failed: {reason}")]
    Network { reason: String },
}
