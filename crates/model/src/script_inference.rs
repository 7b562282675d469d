//! Runs a TorchScript module on batches of frames, and converts its output to detections or classes.

use std::time::Instant;

use lookout_config::ModelSettings;
use lookout_schema::Size;
use lookout_stage::{BatchResult, Detect, DetectError, DetectFrame, InferenceResult, Pixels};

use crate::{
    ModelError,
    classifier::TopClasses,
    detection::{DetectionSettings, SCORE_THRESHOLD},
    detector::findings,
    input::{Stacker, one_size},
    labels::Labels,
    libtorch_error::caught,
    replica::Replica,
    script_error::ScriptError,
    streams::Streams,
    torchscript::{PreparedScript, ScriptBoxes, ScriptOutput},
};

/// Number of classes that get numbered names, `class 0` and so on, if a module returns boxes and no label file
/// is configured.
const NUMBERED: usize = 10_000;

/// A TorchScript module with its preprocessing and the names of its classes.
#[derive(Debug, Clone)]
pub(crate) struct ScriptInference {
    script: PreparedScript,
    stacker: Stacker,
    reading: Reading,
    streams: Streams,
}

/// The postprocessing of the module's output.
#[derive(Debug, Clone)]
enum Reading {
    Logits(TopClasses),
    Boxes(BoxReader),
}

#[derive(Debug, Clone)]
struct BoxReader {
    labels: Labels,
    score_threshold: f32,
    max_detections: usize,
    /// Whether a label without a name was already logged.
    unnamed_logged: bool,
}

impl ScriptInference {
    /// Prepares `script` for images of the size `input`, and runs it on a black image to check its output. Also
    /// returns the class labels; for logits, `named` returns them for the number of classes.
    ///
    /// # Errors
    /// The module fails or its output has another form than configured; or the labels cannot be read or do not
    /// match.
    pub(crate) fn new(
        script: PreparedScript,
        settings: &ModelSettings,
        input: Size,
        streams: Streams,
        named: impl FnOnce(usize) -> Result<Labels, ModelError>,
    ) -> Result<(Self, Labels), ModelError> {
        let black = caught(|| script.dry_run(input));
        let black = black.map_err(|reason| ModelError::Network { reason })?;
        let (reading, labels) = match black? {
            ScriptOutput::Logits(logits) => {
                let classes = logits.size().get(1).copied().unwrap_or(0);
                let labels = named(usize::try_from(classes).unwrap_or(0))?;
                (Reading::Logits(TopClasses::new(settings, labels.clone())), labels)
            }
            ScriptOutput::Boxes(_) => {
                let labels = match &settings.labels {
                    Some(path) => Labels::read_all(path)?,
                    None => Labels::numbered(NUMBERED),
                };
                let most = settings.max_detections;
                let reader = BoxReader {
                    labels: labels.clone(),
                    score_threshold: settings.score_threshold.unwrap_or(SCORE_THRESHOLD),
                    max_detections: most.unwrap_or(DetectionSettings::default().max_detections),
                    unnamed_logged: false,
                };
                (Reading::Boxes(reader), labels)
            }
        };
        Ok((Self { stacker: Stacker::new(script.target()), script, reading, streams }, labels))
    }

    fn infer(&mut self, frames: &[DetectFrame<'_>], images: &[&Pixels]) -> Result<BatchResult, ScriptError> {
        let _at_work = self.streams.start_batch(frames.len());
        let started = Instant::now();
        let x = self.stacker.stack(images);
        let (inferred, findings) = match &mut self.reading {
            Reading::Logits(top) => {
                let logits = self.script.logits(&x)?;
                let inferred = Instant::now();
                let of_image = |classes| InferenceResult { detections: Vec::new(), classes };
                (inferred, top.read(&logits).into_iter().map(of_image).collect())
            }
            Reading::Boxes(reader) => {
                let all_boxes = self.script.boxes(&x)?;
                (
                    Instant::now(),
                    all_boxes.iter().zip(frames).map(|(boxes, frame)| reader.read(boxes, frame)).collect(),
                )
            }
        };
        Ok(BatchResult { findings, infer: inferred - started, post: inferred.elapsed(), passes: 1 })
    }
}

impl BoxReader {
    fn read(&mut self, boxes: &ScriptBoxes, frame: &DetectFrame<'_>) -> InferenceResult {
        let best = boxes.best(self.score_threshold, self.max_detections);
        let unnamed = best.labels.iter().find(|label| !self.labels.reach(**label as usize));
        if let Some(label) = unnamed.filter(|_| !self.unnamed_logged) {
            self.unnamed_logged = true;
            tracing::warn!(label, "the module returned a label without a name, dropping such boxes");
        }
        findings(&self.labels, &best, frame)
    }
}

impl Detect for ScriptInference {
    fn detect(&mut self, frames: &[DetectFrame<'_>]) -> Result<BatchResult, DetectError> {
        let images: Vec<&Pixels> = frames.iter().map(|frame| frame.pixels).collect();
        let refuse = |reason| DetectError { batch: frames.len(), reason };
        one_size(&images).map_err(refuse)?;
        if images.is_empty() {
            let nothing = Default::default();
            return Ok(BatchResult { findings: Vec::new(), infer: nothing, post: nothing, passes: 0 });
        }
        let batch_result = caught(|| self.infer(frames, &images)).map_err(refuse)?;
        batch_result.map_err(|error| refuse(error.to_string()))
    }
}

impl Replica for ScriptInference {
    fn replica(&self) -> Box<dyn Replica> {
        Box::new(self.clone())
    }
}
