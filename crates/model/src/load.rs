//! The door: settings to a network at work.

use std::path::Path;

use lookout_config::{FitSetting, ModelSettings};
use lookout_schema::{ModelInfo, Size};
use lookout_stage::{Detect, DetectFrame, Fit, Keep, Pixels};

use crate::{
    ModelError,
    classifier::Classifier,
    detection::{COCO_CLASSES, DetectionSettings},
    detector::Detector,
    labels::Labels,
    network::{IMAGENET_CLASSES, Network, PreparedClassifier, PreparedDetector, PreparedNetwork},
    streams::Streams,
    target::Target,
    weights::{self, StateDict},
};

/// A network at work, and what has to be known of it.
pub struct Loaded {
    pub detector: Box<dyn Detect>,
    pub info: ModelInfo,
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

/// The side of the square that classifiers are trained on, and of which torchvision resizes the short side
/// to 256 for the first weights.
const CLASSIFIER_INPUT: u32 = 224;
const SHORT_SIDE: u32 = 256;

/// What a detector gets of a camera's picture: full HD fits in at a third of its sides, and both sides are
/// multiples of 32, so that nothing is padded.
const DETECTOR_INPUT: Size = Size { width: 640, height: 384 };

/// What a detector has to be sure of before it tells anybody; torchvision's own thresholds are for measuring
/// precision against recall.
const SCORE_THRESHOLD: f32 = 0.5;

/// Loads the network of `settings` onto its device.
pub fn load(settings: &ModelSettings) -> Result<Loaded, ModelError> {
    let streams = Streams::new(settings, Target::choose(settings.device, settings.precision)?);
    load_stream(settings, &streams)
}

/// Loads one of several networks of `settings` that share the threads of `streams`.
pub fn load_stream(settings: &ModelSettings, streams: &Streams) -> Result<Loaded, ModelError> {
    let target = Target::choose(settings.device, settings.precision)?;
    lookout_fused::keep_freed_memory();
    let Named { state, name, short_side } = find(settings)?;
    let prepared = network(&settings.arch, state)?.prepare(target);
    let AtWork { detector, labels, input, fit } = match prepared {
        PreparedNetwork::Classifier(network) => classifier(settings, network, short_side, streams)?,
        PreparedNetwork::Detector(network) => detector(settings, network, streams)?,
    };
    tracing::info!(
        arch = settings.arch,
        weights = name,
        device = %target,
        precision = target.precision().as_str(),
        "network loaded"
    );
    let precision = target.precision().as_str().into();
    let info = ModelInfo { arch: settings.arch.clone(), weights: name, precision };
    Ok(Loaded { detector, info, target, input, fit, labels })
}

/// The parts of [`Loaded`] that differ between classifiers and detectors.
struct AtWork {
    detector: Box<dyn Detect>,
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
    let classes = network.classes();
    let labels = match &settings.labels {
        Some(path) => Labels::read(path, classes)?,
        None if classes == IMAGENET_CLASSES as usize => Labels::imagenet(),
        None => Labels::numbered(classes),
    };
    let input = settings.input.unwrap_or(Size { width: CLASSIFIER_INPUT, height: CLASSIFIER_INPUT });
    // The short side in the same proportion for other inputs; the longer side, so that the picture fills it.
    let side = input.width.max(input.height);
    let short_side = (side * short_side).div_ceil(CLASSIFIER_INPUT);
    let fit = fit(settings.fit.unwrap_or(FitSetting::CentreCrop), short_side);
    let detector = Box::new(Classifier::new(network, labels.clone(), settings, streams.clone()));
    Ok(AtWork { detector, labels, input, fit })
}

fn detector(
    settings: &ModelSettings,
    mut network: PreparedDetector,
    streams: &Streams,
) -> Result<AtWork, ModelError> {
    let classes = network.classes();
    let labels = match &settings.labels {
        Some(path) => Labels::read(path, classes)?,
        None if classes == COCO_CLASSES as usize => Labels::coco(),
        None => Labels::numbered(classes),
    };
    let input = settings.input.unwrap_or(DETECTOR_INPUT);
    let fit = fit(settings.fit.unwrap_or(FitSetting::Letterbox), input.width.min(input.height));
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

fn fit(setting: FitSetting, short_side: u32) -> Fit {
    match setting {
        FitSetting::Letterbox => Fit::Letterbox,
        FitSetting::Stretch => Fit::Stretch,
        FitSetting::CentreCrop => Fit::CentreCrop { short_side },
    }
}

/// Loads the network of `settings` for raw inputs.
pub fn load_raw(settings: &ModelSettings) -> Result<PreparedNetwork, ModelError> {
    let target = Target::choose(settings.device, settings.precision)?;
    Ok(network(&settings.arch, find(settings)?.state)?.prepare(target))
}

impl Loaded {
    /// Looks at black pictures in every batch size up to `max_batch`, so that no frame waits for what
    /// libtorch does at the first sight of a size.
    pub fn warm_up(&mut self, max_batch: usize) -> Result<(), ModelError> {
        let bytes = vec![0; self.input.width as usize * self.input.height as usize * 3];
        let Some(black) = Pixels::new(self.input, bytes) else { return Ok(()) };
        let frame = DetectFrame {
            pixels: &black,
            source: self.input,
            placement: self.fit.place(self.input, self.input),
            keep: Keep::all(),
        };
        // The largest first: it decides how much memory is kept.
        for size in (1..=max_batch).rev() {
            self.detector
                .detect(&vec![frame; size])
                .map_err(|error| ModelError::Network { reason: error.reason })?;
        }
        Ok(())
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

fn network(arch: &str, state: State) -> Result<Network, ModelError> {
    match state {
        State::Seed(seed) => Network::from_seed(arch, seed),
        State::Dict(state) => Network::from_state(arch, state),
    }
}
