//! `[model]`: the network.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use lookout_schema::Size;
use thiserror::Error;

use crate::{
    archs::{TORCHSCRIPT, Task, arch_names, is_arch_of},
    reader::{Section, not_one_of},
};

/// Settings of the network.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSettings {
    /// The name of one of [`crate::ARCHS`], or [`TORCHSCRIPT`].
    pub arch: String,
    /// `torchvision`, `random:SEED`, or an absolute path to a `.pth` or `.safetensors` file. For
    /// [`TORCHSCRIPT`], an absolute path to the module.
    pub weights: String,
    /// Output of a [`TORCHSCRIPT`] module; `None` for built-in networks.
    pub output: Option<OutputKind>,
    /// The device that runs the network.
    pub device: Device,
    /// The number format of the network.
    pub precision: Precision,
    /// Size of the network's input; `None` selects the network's default.
    pub input: Option<Size>,
    /// Input sizes for a device that is too slow for `input`, in descending order of their number of pixels.
    pub smaller_inputs: Vec<Size>,
    /// Resize mode; `None` selects the network's default.
    pub fit: Option<ResizeModeSetting>,
    /// Text file with one class name per line; `None` selects the class names that belong to the weights.
    pub labels: Option<PathBuf>,
    /// Minimum score of the published classes and detections, 0 to 1; `None` selects 0 for classifiers and
    /// 0.5 for detectors.
    pub score_threshold: Option<f32>,
    /// IoU threshold of NMS; `None` selects torchvision's default for the network.
    pub nms_iou: Option<f64>,
    /// Maximum number of detections per image; `None` selects torchvision's default.
    pub max_detections: Option<usize>,
    /// Maximum number of candidates per feature level of a detector; `None` selects torchvision's default.
    pub candidates_per_level: Option<usize>,
    /// Number of classes per image that a classifier returns.
    pub top_k: usize,
    /// CPU threads of the network; `None` uses all cores.
    pub threads: Option<usize>,
    /// Number of batches that are processed in parallel; `None` selects the fastest value.
    pub streams: Option<usize>,
}

/// The device that runs the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The first GPU, or the CPU if there is no GPU.
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU with this index.
    Cuda(usize),
}

/// The dtype in which the network computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// bf16 if the device supports it natively, otherwise fp32.
    Auto,
    /// 32-bit floating point.
    Fp32,
    /// bfloat16.
    Bf16,
    /// GPUs only.
    Fp16,
}

/// The resize mode: how a frame is brought to the size of the network's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResizeModeSetting {
    /// Scales the frame to fit within the input, and fills the rest with black.
    Letterbox,
    /// Scales the short side, and crops the center.
    CenterCrop,
    /// Scales the frame to the input's size without keeping its aspect ratio.
    Stretch,
}

/// The output of a TorchScript module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputKind {
    /// Logits, `[N, K]`.
    Logits,
    /// For each image, boxes `[M, 4]`, scores `[M]` and labels `[M]`.
    BoxesScoresLabels,
}

/// The error of a text that is not one of the valid names.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not a valid {what}; valid values are {known}")]
pub struct UnknownName {
    /// What the text should name, such as `device`.
    pub what: &'static str,
    /// The text.
    pub text: String,
    /// The valid values.
    pub known: &'static str,
}

impl FromStr for Device {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let index = match text {
            "auto" => return Ok(Self::Auto),
            "cpu" => return Ok(Self::Cpu),
            "cuda" => Some(0),
            _ => text.strip_prefix("cuda:").and_then(|index| index.parse().ok()),
        };
        let known = "`auto`, `cpu`, `cuda`, `cuda:N`";
        index.map(Self::Cuda).ok_or_else(|| UnknownName { what: "device", text: text.into(), known })
    }
}

impl FromStr for Precision {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let known = "`auto`, `fp32`, `bf16`, `fp16`";
        match text {
            "auto" => Ok(Self::Auto),
            "fp32" => Ok(Self::Fp32),
            "bf16" => Ok(Self::Bf16),
            "fp16" => Ok(Self::Fp16),
            _ => Err(UnknownName { what: "precision", text: text.into(), known }),
        }
    }
}

impl FromStr for OutputKind {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let known = "`logits`, `boxes_scores_labels`";
        match text {
            "logits" => Ok(Self::Logits),
            "boxes_scores_labels" => Ok(Self::BoxesScoresLabels),
            _ => Err(UnknownName { what: "output", text: text.into(), known }),
        }
    }
}

const FITS: [(&str, ResizeModeSetting); 3] = [
    ("letterbox", ResizeModeSetting::Letterbox),
    ("center-crop", ResizeModeSetting::CenterCrop),
    ("stretch", ResizeModeSetting::Stretch),
];

impl FromStr for ResizeModeSetting {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let known = "`letterbox`, `center-crop`, `stretch`";
        let found = FITS.iter().find(|(name, _)| *name == text).map(|(_, fit)| *fit);
        found.ok_or_else(|| UnknownName { what: "resize mode", text: text.into(), known })
    }
}

impl ModelSettings {
    /// Returns the settings of a network with the defaults of a pipeline file.
    pub fn named(arch: &str, weights: &str) -> Self {
        Self {
            arch: arch.into(),
            weights: weights.into(),
            output: None,
            device: Device::Auto,
            precision: Precision::Auto,
            input: None,
            smaller_inputs: Vec::new(),
            fit: None,
            labels: None,
            score_threshold: None,
            nms_iou: None,
            max_detections: None,
            candidates_per_level: None,
            top_k: 5,
            threads: None,
            streams: None,
        }
    }

    /// Returns whether the network is a classifier.
    pub fn is_classifier(&self) -> bool {
        is_arch_of(&self.arch, Task::Classification) || self.output == Some(OutputKind::Logits)
    }

    pub(crate) fn read(section: Section<'_, '_>, base: &Path) -> Option<Self> {
        let arch = section.text("arch");
        let known = arch_names().chain([TORCHSCRIPT]);
        if let Some(arch) = arch.as_deref().filter(|arch| !known.clone().any(|known| known == *arch)) {
            section.note("arch", not_one_of(arch, known));
        }
        let script = arch.as_deref() == Some(TORCHSCRIPT);
        let weights = section
            .text("weights")
            .map(|text| if script { module(&section, &text, base) } else { weights(&section, text, base) });
        let output = section.parsed("output");
        let device = section.text("device").map(|text| device(&section, &text)).unwrap_or(Some(Device::Auto));
        let precision = section.parsed("precision").unwrap_or(Precision::Auto);
        if (device, precision) == (Some(Device::Cpu), Precision::Fp16) {
            section.note("precision", "fp16 runs on GPUs only; use bf16, fp32 or auto on the CPU");
        }
        match (script, output.is_some()) {
            (true, _) => section.need(
                "output",
                "`output` is required for a TorchScript module: `logits` or `boxes_scores_labels`",
            ),
            (false, true) => section.note(
                "output",
                "`output` is for `arch = \"torchscript\"` only; remove it, the output of built-in networks is known",
            ),
            (false, false) => {}
        }
        if script && matches!(precision, Precision::Bf16 | Precision::Fp16) {
            let what = "a TorchScript module gets fp32 input and computes in the dtype that it was exported with; \
                        use fp32 or auto, and a module that converts its input";
            section.note("precision", what);
        }
        let input = section
            .text("input")
            .and_then(|text| input_size(&text).map_err(|what| section.note("input", what)).ok());
        let fit = fit(&section);
        let classifier = arch.as_deref().is_some_and(|arch| is_arch_of(arch, Task::Classification));
        let smaller_inputs = smaller_inputs(&section, input, fit, script || classifier);
        let labels = section.text("labels").map(|path| base.join(path));
        let score_threshold = section.number("score_threshold", 0.0..=1.0).map(|n| n as f32);
        let nms_iou = section.number("nms_iou", 0.0..=1.0);
        let max_detections = section.integer("max_detections", 1..=100_000).map(|n| n as usize);
        let candidates_per_level = section.integer("candidates_per_level", 1..=100_000).map(|n| n as usize);
        for (key, set) in
            [("nms_iou", nms_iou.is_some()), ("candidates_per_level", candidates_per_level.is_some())]
        {
            if script && set {
                section.note(key, format!("a TorchScript module does its own NMS; remove `{key}`"));
            }
        }
        let top_k = section.integer("top_k", 1..=1000).unwrap_or(5) as usize;
        let threads = section.integer("threads", 1..=1024).map(|n| n as usize);
        let streams = section.integer("streams", 1..=64).map(|n| n as usize);
        section.need("arch", "`arch` is required in [model]");
        section.need("weights", "`weights` is required in [model]");
        section.finish();
        Some(Self {
            arch: arch?,
            weights: weights??,
            output,
            device: device?,
            precision,
            input,
            smaller_inputs,
            fit,
            labels,
            score_threshold,
            nms_iou,
            max_detections,
            candidates_per_level,
            top_k,
            threads,
            streams,
        })
    }
}

/// Reads `smaller_inputs`. `fixed` is true if the network supports only one input size.
fn smaller_inputs(
    section: &Section<'_, '_>,
    input: Option<Size>,
    fit: Option<ResizeModeSetting>,
    fixed: bool,
) -> Vec<Size> {
    const KEY: &str = "smaller_inputs";
    let Some(texts) = section.texts(KEY) else { return Vec::new() };
    if fixed {
        section.note(KEY, "only built-in detectors support several input sizes; remove `smaller_inputs`");
    }
    if fit == Some(ResizeModeSetting::CenterCrop) {
        section.note(
            KEY,
            "`resize_mode = \"center-crop\"` supports one input size only; use `letterbox` or `stretch`",
        );
    }
    let pixels = |size: Size| u64::from(size.width) * u64::from(size.height);
    let mut before = input;
    let mut sizes = Vec::new();
    for text in texts {
        match input_size(&text) {
            Ok(size) => {
                if before.is_some_and(|before| pixels(size) >= pixels(before)) {
                    let what = format!(
                        "`{text}` is not smaller than the input before it; list the largest size first"
                    );
                    section.note(KEY, what);
                }
                before = Some(size);
                sizes.push(size);
            }
            Err(what) => section.note(KEY, what),
        }
    }
    if input.is_none() && !sizes.is_empty() {
        section.note(KEY, "set `input` as well; each of these sizes must be smaller than `input`");
    }
    sizes
}

pub(crate) fn weights(section: &Section<'_, '_>, text: String, base: &Path) -> Option<String> {
    if text == "torchvision" {
        return Some(text);
    }
    if let Some(seed) = text.strip_prefix("random:") {
        if seed.parse::<u64>().is_err() {
            section.note(
                "weights",
                format!("`{seed}` is not a valid seed; use a whole number, such as `random:7`"),
            );
        }
        return Some(text);
    }
    let path = base.join(&text);
    let extension = path.extension().and_then(|e| e.to_str());
    if extension == Some("ts") {
        let what = format!(
            "`{text}` is a TorchScript module, which contains its own network; set `arch = \"torchscript\"`"
        );
        section.note("weights", what);
        return None;
    }
    if !matches!(extension, Some("pth" | "pt" | "safetensors")) {
        let what = format!(
            "`{text}` is neither `torchvision`, `random:SEED` nor a file that ends in .safetensors, .pth or .pt"
        );
        section.note("weights", what);
        return None;
    }
    Some(path.to_string_lossy().into_owned())
}

/// Returns the path of a TorchScript module.
fn module(section: &Section<'_, '_>, text: &str, base: &Path) -> Option<String> {
    let path = base.join(text);
    if !matches!(path.extension().and_then(|e| e.to_str()), Some("pt" | "ts" | "pth")) {
        let what = format!("`{text}` is not a TorchScript module: its name must end in .pt, .ts or .pth");
        section.note("weights", what);
        return None;
    }
    Some(path.to_string_lossy().into_owned())
}

fn device(section: &Section<'_, '_>, text: &str) -> Option<Device> {
    text.parse().map_err(|error: UnknownName| section.note("device", error.to_string())).ok()
}

fn fit(section: &Section<'_, '_>) -> Option<ResizeModeSetting> {
    let text = section.text("resize_mode")?;
    let known = text.parse().ok();
    if known.is_none() {
        let what = match text.as_str() {
            "torchvision" => "`torchvision` gives each image its own size, and all frames of a batch must have \
                              the same size; use `letterbox`, with `input = \"1333x800\"` for the same resolution \
                              (only `lookout infer --resize-mode torchvision` supports it)"
                .into(),
            _ => not_one_of(&text, FITS.iter().map(|(name, _)| *name)),
        };
        section.note("resize_mode", what);
    }
    known
}

/// Parses an input size `WIDTHxHEIGHT`.
///
/// # Errors
/// Returns a description of the error.
pub fn input_size(text: &str) -> Result<Size, String> {
    let sides = text.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    let size = sides.map(|(width, height)| Size { width, height });
    size.filter(|s| (32..=4096).contains(&s.width) && (32..=4096).contains(&s.height)).ok_or_else(|| {
        format!(
            "`{text}` is not a valid input size; use WIDTHxHEIGHT, each side 32 to 4096, such as `640x384`"
        )
    })
}
