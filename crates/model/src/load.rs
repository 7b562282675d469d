//! The door: settings to a network at work.

use std::{collections::BTreeMap, path::Path};

use lookout_config::{ClassifySettings, FitSetting, ModelSettings, TORCHSCRIPT};
use lookout_schema::{ModelInfo, Size};
use lookout_stage::{DetectFrame, Fit, Keep, Pixels};
use tch::Tensor;

use crate::{
    ModelError,
    classifier::{Classifier, TopClasses},
    detection::{COCO_CLASSES, DetectionSettings},
    detector::Detector,
    labels::Labels,
    misfit,
    network::{IMAGENET_CLASSES, Network, PreparedClassifier, PreparedDetector, PreparedNetwork},
    replicas::Replica,
    second_stage::SecondStage,
    streams::Streams,
    target::Target,
    torchscript::{PreparedScript, ScriptAtWork},
    weights::{self, StateDict, WeightsError},
};

/// A network at work, and what has to be known of it.
pub struct Loaded {
    pub detector: Box<dyn Replica>,
    pub info: ModelInfo,
    /// The second network, where there is one.
    pub classifier: Option<ModelInfo>,
    pub target: Target,
    /// Pictures have to come in this size.
    pub input: Size,
    /// How a frame is brought there.
    pub fit: Fit,
    /// What its classes are called.
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

/// The sections of a pipeline file that name weights; of commands, `--arch` and `--weights` are the first's keys.
const MODEL: &str = "[model]";
const CLASSIFY: &str = "[classify]";

/// The side of the square that classifiers are trained on, and of which torchvision resizes the short side
/// to 256 for the first weights.
const CLASSIFIER_INPUT: Size = Size { width: 224, height: 224 };
const SHORT_SIDE: u32 = 256;

/// What a detector gets of a camera's picture: full HD fits in at a third of its sides, and both sides are
/// multiples of 32, so that nothing is padded.
const DETECTOR_INPUT: Size = Size { width: 640, height: 384 };

/// What a detector has to be sure of before it tells anybody; torchvision's own thresholds are for measuring
/// precision against recall.
pub(crate) const SCORE_THRESHOLD: f32 = 0.5;

/// Loads the network of `settings` onto its device.
pub fn load(settings: &ModelSettings) -> Result<Loaded, ModelError> {
    let streams = Streams::new(settings, Target::choose(settings.device, settings.precision)?);
    load_stream(settings, None, &streams)
}

/// Loads one of several networks of `settings` that share the threads of `streams`, with the classifier of
/// `classify` behind it.
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
    lookout_fused::keep_freed_memory();
    let Ready { network, name, short_side } = prepared(settings, MODEL)?;
    let target = network.target();
    let AtWork { detector, labels, input, fit } = match network {
        PreparedNetwork::Classifier(network) => classifier(settings, network, short_side, streams)?,
        PreparedNetwork::Detector(network) => detector(settings, network, streams)?,
        PreparedNetwork::Script(network) => script(settings, network, streams)?,
    };
    let info = told(settings, name, target);
    Ok(Loaded { detector, info, classifier: None, target, input, fit, labels })
}

/// `first` with a classifier for what it finds.
fn with_second(first: Loaded, classify: &ClassifySettings, streams: &Streams) -> Result<Loaded, ModelError> {
    if let Some(class) = classify.classes.iter().find(|class| !first.labels.has(class)) {
        return Err(ModelError::NoSuchClass { class: class.clone(), arch: first.info.arch });
    }
    let settings = &classify.network;
    let Ready { network, name, .. } = prepared(settings, CLASSIFY)?;
    let arch = || ModelError::NoClassifier { arch: settings.arch.clone() };
    let network = network.into_classifier().ok_or_else(arch)?;
    let info = told(settings, name, network.target());
    let labels = labels(settings, network.classes(), IMAGENET_CLASSES, Labels::imagenet)?;
    let top = TopClasses::new(settings, labels);
    let input = settings.input.unwrap_or(CLASSIFIER_INPUT);
    let second = SecondStage::new(first.detector, (network, top), input, classify, streams.clone())?;
    Ok(Loaded { detector: Box::new(second), classifier: Some(info), ..first })
}

/// What records say of a network, which the log is told too.
fn told(settings: &ModelSettings, weights: String, target: Target) -> ModelInfo {
    let (arch, precision) = (settings.arch.clone(), target.precision().as_str());
    tracing::info!(arch, weights, device = %target, precision, "network loaded");
    ModelInfo { arch, weights, precision: precision.into() }
}

/// What the classes of a network are called: by the settings' file, or as `usual` where there are as many.
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

/// The parts of [`Loaded`] that differ between classifiers and detectors.
struct AtWork {
    detector: Box<dyn Replica>,
    labels: Labels,
    input: Size,
    fit: Fit,
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
    let (script, labels) = ScriptAtWork::new(network, settings, input, streams.clone(), named)?;
    Ok(AtWork { detector: Box::new(script), labels, input, fit })
}

/// Returns the input of the network of `settings` and how a frame comes into it, without reading its weights.
pub fn planned_input(settings: &ModelSettings) -> (Size, Fit) {
    if !settings.is_classifier() {
        return detector_input(settings);
    }
    let published = (settings.weights == "torchvision").then(|| weights::published(&settings.arch)).flatten();
    classifier_input(settings, published.map_or(SHORT_SIDE, |published| published.resize))
}

fn classifier_input(settings: &ModelSettings, short_side: u32) -> (Size, Fit) {
    let input = settings.input.unwrap_or(CLASSIFIER_INPUT);
    let setting = settings.fit.unwrap_or(FitSetting::CenterCrop);
    (input, fit(setting, short_side_of(input, short_side)))
}

/// The short side in the same proportion for other inputs; the longer side, so that the picture fills it.
fn short_side_of(input: Size, short_side: u32) -> u32 {
    (input.width.max(input.height) * short_side).div_ceil(CLASSIFIER_INPUT.width)
}

/// How a picture comes to `input` at work where nothing else is said.
pub fn usual_fit(is_classifier: bool, input: Size) -> Fit {
    if is_classifier {
        Fit::CenterCrop { short_side: short_side_of(input, SHORT_SIDE) }
    } else {
        Fit::Letterbox
    }
}

fn detector_input(settings: &ModelSettings) -> (Size, Fit) {
    let input = settings.input.unwrap_or(DETECTOR_INPUT);
    (input, fit(settings.fit.unwrap_or(FitSetting::Letterbox), input.width.min(input.height)))
}

fn fit(setting: FitSetting, short_side: u32) -> Fit {
    match setting {
        FitSetting::Letterbox => Fit::Letterbox,
        FitSetting::Stretch => Fit::Stretch,
        FitSetting::CenterCrop => Fit::CenterCrop { short_side },
    }
}

/// Loads the network of `settings` for raw inputs.
pub fn load_raw(settings: &ModelSettings) -> Result<PreparedNetwork, ModelError> {
    Ok(prepared(settings, MODEL)?.network)
}

/// A network without what reads it at work, and what has to be known of it: for whoever measures it.
#[derive(Debug)]
pub struct Bare {
    pub network: PreparedNetwork,
    pub info: ModelInfo,
    /// How pictures come to it at work.
    pub input: Size,
    pub fit: Fit,
    /// What its classes are called; none where nothing says so.
    pub labels: Option<Labels>,
}

/// Loads the network of `settings` to be measured.
pub fn load_bare(settings: &ModelSettings) -> Result<Bare, ModelError> {
    lookout_fused::keep_freed_memory();
    let Ready { network, name, short_side } = prepared(settings, MODEL)?;
    let info = told(settings, name, network.target());
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

/// A network on its device, not yet at work.
struct Ready {
    network: PreparedNetwork,
    /// Of its weights, as in records.
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

/// An error of the weights with the section of the pipeline file that names them.
fn within(section: &'static str, error: ModelError) -> ModelError {
    match error {
        ModelError::Weights(source) => ModelError::WeightsOf { section, source: Box::new(source) },
        error => error,
    }
}

impl Loaded {
    /// Returns the same network for another thread, on the same weights.
    pub fn replica(&self) -> Self {
        Self {
            detector: self.detector.replica(),
            info: self.info.clone(),
            classifier: self.classifier.clone(),
            labels: self.labels.clone(),
            ..*self
        }
    }

    /// Runs the network on `batch` black images, which lays out its weights for the processor. Other batch sizes
    /// work with the same weights.
    ///
    /// # Errors
    /// The network does not take such a batch: no memory, an input smaller than the network.
    pub fn warm_up(&mut self, batch: usize) -> Result<(), ModelError> {
        let bytes = vec![0; self.input.width as usize * self.input.height as usize * 3];
        let Some(black) = Pixels::new(self.input, bytes) else { return Ok(()) };
        let frame = DetectFrame {
            pixels: &black,
            source: self.input,
            placement: self.fit.place(self.input, self.input),
            keep: Keep::all(),
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
    /// As in records.
    name: String,
    short_side: u32,
}

fn find(settings: &ModelSettings) -> Result<Named, ModelError> {
    let text = settings.weights.as_str();
    if let Some(seed) = text.strip_prefix("random:") {
        let seed = seed.parse().map_err(|_| ModelError::UnknownWeights(text.into()))?;
        tracing::warn!(weights = text, "the weights are random: what the network sees means nothing");
        return Ok(Named { state: State::Seed(seed), name: text.into(), short_side: SHORT_SIDE });
    }
    let (state, short_side) = if text == "torchvision" {
        let path = weights::fetch_torchvision(&settings.arch, &weights::cache_dir()?)?;
        let resize = weights::published(&settings.arch).map_or(SHORT_SIDE, |published| published.resize);
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
    // The names, for the error; the tensors are views of what the network copies anyway.
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
