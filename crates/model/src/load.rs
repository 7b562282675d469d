//! Loads networks: from settings to a network that is ready for inference.

use std::{collections::BTreeMap, path::Path};

use lookout_config::{ClassifySettings, ModelSettings, ResizeModeSetting, TORCHSCRIPT, Task};
use lookout_schema::{ModelInfo, Size};
use lookout_stage::{DetectFrame, DetectionFilter, Pixels, ResizeMode};
use tch::Tensor;

use crate::{
    ModelError,
    archs::{fetch_torchvision, published},
    classifier::{Classifier, TopClasses},
    detection::{DetectionSettings, SCORE_THRESHOLD},
    detector::Detector,
    labels::{COCO_CLASSES, IMAGENET_CLASSES, Labels},
    misfit,
    network::{Network, PreparedClassifier, PreparedDetector, PreparedNetwork},
    replica::Replica,
    script_inference::ScriptInference,
    second_stage::SecondStage,
    streams::Streams,
    target::Target,
    torchscript::PreparedScript,
    weights::{self, StateDict, WeightsError},
};

/// A network that is ready for inference, with its metadata and input.
pub struct Loaded {
    pub detector: Box<dyn Replica>,
    pub info: ModelInfo,
    /// The secondary classifier, if there is one.
    pub classifier: Option<ModelInfo>,
    pub target: Target,
    /// The size of the network's input, which all images must have.
    pub input: Size,
    /// The resize mode that brings a frame to this size.
    pub fit: ResizeMode,
    /// The names of the network's classes.
    pub labels: Labels,
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded")
            .field("info", &self.info)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// Sections of the pipeline file that name weights, for error messages. The options `--arch` and `--weights` of
/// commands correspond to keys of `[model]`.
const MODEL: &str = "[model]";
const CLASSIFY: &str = "[classify]";

const CLASSIFIER_INPUT: Size = Task::Classification.default_input();
/// The short side to which an image is resized for an input of [`CLASSIFIER_INPUT`], unless the weights specify
/// another. For its first weights, torchvision evaluates on a center crop of such an image.
const SHORT_SIDE: u32 = 256;

const DETECTOR_INPUT: Size = Task::Detection.default_input();

/// Loads the network of `settings` onto its device.
///
/// # Errors
/// The device, the weights or the labels are not available, or do not fit the network.
pub fn load(settings: &ModelSettings) -> Result<Loaded, ModelError> {
    let streams = Streams::new(settings, Target::choose(settings.device, settings.precision)?);
    load_stream(settings, None, &streams)
}

/// Loads one of several networks of `settings` that share the threads of `streams`.
///
/// If `classify` is set, its classifier runs on the network's detections.
///
/// # Errors
/// As for [`load`]; or `classify` names an unknown class or a network that is not a classifier.
pub fn load_stream(
    settings: &ModelSettings,
    classify: Option<&ClassifySettings>,
    streams: &Streams,
) -> Result<Loaded, ModelError> {
    let first = load_first(settings, streams)?;
    match classify {
        Some(classify) => with_second(first, classify, streams),
        None => Ok(first),
    }
}

fn load_first(settings: &ModelSettings, streams: &Streams) -> Result<Loaded, ModelError> {
    let Ready { network, name, short_side } = prepared(settings, MODEL)?;
    let target = network.target();
    let AtWork { detector, labels, input, fit } = match network {
        PreparedNetwork::Classifier(network) => classifier(settings, network, short_side, streams)?,
        PreparedNetwork::Detector(network) => detector(settings, network, streams)?,
        PreparedNetwork::Script(network) => script(settings, network, streams)?,
    };
    let info = loaded_info(settings, name, target);
    Ok(Loaded { detector, info, classifier: None, target, input, fit, labels })
}

/// Adds a secondary classifier for the detections of `first`.
fn with_second(first: Loaded, classify: &ClassifySettings, streams: &Streams) -> Result<Loaded, ModelError> {
    if let Some(class) = classify.classes.iter().find(|class| !first.labels.has(class)) {
        return Err(ModelError::NoSuchClass { class: class.clone(), arch: first.info.arch });
    }
    let settings = &classify.network;
    let Ready { network, name, .. } = prepared(settings, CLASSIFY)?;
    let arch = || ModelError::NoClassifier { arch: settings.arch.clone() };
    let network = network.into_classifier().ok_or_else(arch)?;
    let info = loaded_info(settings, name, network.target());
    let labels = labels(settings, network.classes(), IMAGENET_CLASSES, Labels::imagenet)?;
    let top = TopClasses::new(settings, labels);
    let input = settings.input.unwrap_or(CLASSIFIER_INPUT);
    let second = SecondStage::new(first.detector, (network, top), input, classify, streams.clone())?;
    Ok(Loaded { detector: Box::new(second), classifier: Some(info), ..first })
}

/// Returns the network's metadata for records, and logs it.
fn loaded_info(settings: &ModelSettings, weights: String, target: Target) -> ModelInfo {
    let (arch, precision) = (settings.arch.clone(), target.precision().as_str());
    tracing::info!(arch, weights, device = %target, precision, "network loaded");
    ModelInfo { arch, weights, precision: precision.into() }
}

/// Returns the names of a network's classes: from the file in `settings`, or else `usual` if the network has
/// `usual_classes` classes, or else numbered names.
fn labels(
    settings: &ModelSettings,
    classes: usize,
    usual_classes: i64,
    usual: fn() -> Labels,
) -> Result<Labels, ModelError> {
    Ok(known(settings, classes, usual_classes, usual)?.unwrap_or_else(|| Labels::numbered(classes)))
}

fn known(
    settings: &ModelSettings,
    classes: usize,
    usual_classes: i64,
    usual: fn() -> Labels,
) -> Result<Option<Labels>, ModelError> {
    match &settings.labels {
        Some(path) => Labels::read(path, classes).map(Some),
        None => Ok((i64::try_from(classes) == Ok(usual_classes)).then(usual)),
    }
}

/// The parts of [`Loaded`] that depend on the kind of network.
struct AtWork {
    detector: Box<dyn Replica>,
    labels: Labels,
    input: Size,
    fit: ResizeMode,
}

fn classifier(
    settings: &ModelSettings,
    network: PreparedClassifier,
    short_side: u32,
    streams: &Streams,
) -> Result<AtWork, ModelError> {
    let labels = labels(settings, network.classes(), IMAGENET_CLASSES, Labels::imagenet)?;
    let (input, fit) = classifier_input(settings, short_side);
    let top = TopClasses::new(settings, labels.clone());
    let detector = Box::new(Classifier::new(network, top, streams.clone()));
    Ok(AtWork { detector, labels, input, fit })
}

fn detector(
    settings: &ModelSettings,
    mut network: PreparedDetector,
    streams: &Streams,
) -> Result<AtWork, ModelError> {
    let labels = labels(settings, network.classes(), COCO_CLASSES, Labels::coco)?;
    let (input, fit) = detector_input(settings);
    let torchvisions = network.settings;
    network.settings = DetectionSettings {
        score_threshold: settings.score_threshold.unwrap_or(SCORE_THRESHOLD),
        nms_iou: settings.nms_iou.unwrap_or(torchvisions.nms_iou),
        max_detections: settings.max_detections.unwrap_or(torchvisions.max_detections),
        candidates_per_level: settings.candidates_per_level.unwrap_or(torchvisions.candidates_per_level),
        ..torchvisions
    };
    let detector = Box::new(Detector::new(network, labels.clone(), streams.clone()));
    Ok(AtWork { detector, labels, input, fit })
}

fn script(
    settings: &ModelSettings,
    network: PreparedScript,
    streams: &Streams,
) -> Result<AtWork, ModelError> {
    let (input, fit) = match settings.is_classifier() {
        true => classifier_input(settings, SHORT_SIDE),
        false => detector_input(settings),
    };
    let named = |classes| labels(settings, classes, IMAGENET_CLASSES, Labels::imagenet);
    let (script, labels) = ScriptInference::new(network, settings, input, streams.clone(), named)?;
    Ok(AtWork { detector: Box::new(script), labels, input, fit })
}

/// Returns the input size and the resize mode of the network of `settings` without reading its weights.
pub fn planned_input(settings: &ModelSettings) -> (Size, ResizeMode) {
    if !settings.is_classifier() {
        return detector_input(settings);
    }
    let file = (settings.weights == "torchvision").then(|| published(&settings.arch)).flatten();
    classifier_input(settings, file.map_or(SHORT_SIDE, |published| published.resize))
}

fn classifier_input(settings: &ModelSettings, short_side: u32) -> (Size, ResizeMode) {
    let input = settings.input.unwrap_or(CLASSIFIER_INPUT);
    let setting = settings.fit.unwrap_or(ResizeModeSetting::CenterCrop);
    (input, fit(setting, short_side_of(input, short_side)))
}

/// Scales `short_side`, which applies to [`CLASSIFIER_INPUT`], to another input size. Uses the input's longer side, so
/// that the resized image covers the whole input.
fn short_side_of(input: Size, short_side: u32) -> u32 {
    (input.width.max(input.height) * short_side).div_ceil(CLASSIFIER_INPUT.width)
}

/// Returns the resize mode that a pipeline uses by default.
pub fn usual_fit(is_classifier: bool, input: Size) -> ResizeMode {
    if is_classifier {
        ResizeMode::CenterCrop { short_side: short_side_of(input, SHORT_SIDE) }
    } else {
        ResizeMode::Letterbox
    }
}

fn detector_input(settings: &ModelSettings) -> (Size, ResizeMode) {
    let input = settings.input.unwrap_or(DETECTOR_INPUT);
    (input, fit(settings.fit.unwrap_or(ResizeModeSetting::Letterbox), input.width.min(input.height)))
}

fn fit(setting: ResizeModeSetting, short_side: u32) -> ResizeMode {
    match setting {
        ResizeModeSetting::Letterbox => ResizeMode::Letterbox,
        ResizeModeSetting::Stretch => ResizeMode::Stretch,
        ResizeModeSetting::CenterCrop => ResizeMode::CenterCrop { short_side },
    }
}

/// Loads the network of `settings` for raw inputs.
pub fn load_raw(settings: &ModelSettings) -> Result<PreparedNetwork, ModelError> {
    Ok(prepared(settings, MODEL)?.network)
}

/// A network without the postprocessing of a pipeline, and its metadata. Evaluation and benchmarks use it.
#[derive(Debug)]
pub struct Bare {
    pub network: PreparedNetwork,
    pub info: ModelInfo,
    /// The input size that a pipeline would use, and its resize mode in `fit`.
    pub input: Size,
    pub fit: ResizeMode,
    /// The names of the classes; `None` if neither the settings nor the number of classes determine them.
    pub labels: Option<Labels>,
}

/// Loads the network of `settings` for evaluation and benchmarks.
pub fn load_bare(settings: &ModelSettings) -> Result<Bare, ModelError> {
    let Ready { network, name, short_side } = prepared(settings, MODEL)?;
    let info = loaded_info(settings, name, network.target());
    let (input, fit) = match &network {
        PreparedNetwork::Detector(_) => detector_input(settings),
        _ => classifier_input(settings, short_side),
    };
    let labels = match &network {
        PreparedNetwork::Classifier(network) => {
            known(settings, network.classes(), IMAGENET_CLASSES, Labels::imagenet)?
        }
        PreparedNetwork::Detector(network) => known(settings, network.classes(), COCO_CLASSES, Labels::coco)?,
        PreparedNetwork::Script(_) => None,
    };
    Ok(Bare { network, info, input, fit, labels })
}

/// A network on its device, without postprocessing.
struct Ready {
    network: PreparedNetwork,
    /// The name of the weights in records.
    name: String,
    short_side: u32,
}

fn prepared(settings: &ModelSettings, section: &'static str) -> Result<Ready, ModelError> {
    let target = Target::choose(settings.device, settings.precision)?;
    if settings.arch == TORCHSCRIPT {
        let (script, name) = PreparedScript::load(settings, target)?;
        return Ok(Ready { network: PreparedNetwork::Script(script), name, short_side: SHORT_SIDE });
    }
    let Named { state, name, short_side } = find(settings).map_err(|error| within(section, error))?;
    Ok(Ready { network: network(settings, section, state)?.prepare(target), name, short_side })
}

/// Adds the section of the pipeline file to an error of the weights.
fn within(section: &'static str, error: ModelError) -> ModelError {
    match error {
        ModelError::Weights(source) => ModelError::WeightsOf { section, source: Box::new(source) },
        error => error,
    }
}

impl Loaded {
    /// Returns the same network for another thread. It shares the weights.
    pub fn replica(&self) -> Self {
        Self {
            detector: self.detector.replica(),
            info: self.info.clone(),
            classifier: self.classifier.clone(),
            labels: self.labels.clone(),
            ..*self
        }
    }

    /// Runs the network on `batch` black images, which packs its weights for the processor.
    ///
    /// Other batch sizes can use the packed weights as well.
    ///
    /// # Errors
    /// The network fails on such a batch, because of a lack of memory or because the input is smaller than the network
    /// allows.
    pub fn warm_up(&mut self, batch: usize) -> Result<(), ModelError> {
        let black = Pixels::black(self.input);
        let frame = DetectFrame {
            pixels: &black,
            source: self.input,
            placement: self.fit.place(self.input, self.input),
            keep: DetectionFilter::all(),
        };
        self.detector
            .prepare(&vec![frame; batch])
            .map_err(|error| ModelError::Network { reason: error.reason })
    }
}

enum State {
    Seed(u64),
    Dict(StateDict),
}

struct Named {
    state: State,
    /// The name of the weights in records.
    name: String,
    short_side: u32,
}

fn find(settings: &ModelSettings) -> Result<Named, ModelError> {
    let text = settings.weights.as_str();
    if let Some(seed) = text.strip_prefix("random:") {
        let seed = seed.parse().map_err(|_| ModelError::UnknownWeights(text.into()))?;
        tracing::warn!(weights = text, "the weights are random: the results are meaningless");
        return Ok(Named { state: State::Seed(seed), name: text.into(), short_side: SHORT_SIDE });
    }
    let (state, short_side) = if text == "torchvision" {
        let path = fetch_torchvision(&settings.arch, &weights::cache_dir()?)?;
        let resize = published(&settings.arch).map_or(SHORT_SIDE, |published| published.resize);
        (weights::read(&path)?, resize)
    } else {
        (weights::read(Path::new(text))?, SHORT_SIDE)
    };
    Ok(Named { name: state.digest.clone(), state: State::Dict(state), short_side })
}

fn network(settings: &ModelSettings, section: &'static str, state: State) -> Result<Network, ModelError> {
    let state = match state {
        State::Seed(seed) => return Network::from_seed(&settings.arch, seed),
        State::Dict(state) => state,
    };
    let (arch, file) = (&settings.arch, &settings.weights);
    let found = Network::found_in(arch, state).map_err(|error| within(section, error))?;
    let (state, prefix) = found;
    // Kept for the error message. The tensors are views, and the network copies their contents anyway.
    let names = StateDict { tensors: shallow(&state), digest: String::new() };
    Network::from_state(arch, state).map_err(|error| match error {
        ModelError::Weights(WeightsError::Misfit(source)) => {
            let advice = misfit::advice(&names, prefix.as_deref());
            ModelError::Misfit {
                section,
                file: file.clone(),
                arch: arch.clone(),
                advice,
                source: Box::new(source),
            }
        }
        error => within(section, error),
    })
}

fn shallow(state: &StateDict) -> BTreeMap<String, Tensor> {
    state.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
}
