//! A classifier at work: pictures in, their most probable classes out.

use std::time::Instant;

use lookout_config::ModelSettings;
use lookout_schema::Classification;
use lookout_stage::{Detect, DetectError, DetectFrame, Detected, Findings, Pixels};
use tch::{Kind, Tensor};

use crate::{
    input::Stacker,
    labels::Labels,
    network::{PreparedClassifier, caught},
    streams::Streams,
};

/// A ResNet with its input's transform and its classes' names.
#[derive(Debug)]
pub(crate) struct Classifier {
    network: PreparedClassifier,
    stacker: Stacker,
    labels: Labels,
    top_k: usize,
    score_threshold: f32,
    streams: Streams,
}

impl Classifier {
    /// The classifier of `settings`, which names its classes by `labels`.
    pub(crate) fn new(
        network: PreparedClassifier,
        labels: Labels,
        settings: &ModelSettings,
        streams: Streams,
    ) -> Self {
        Self {
            stacker: Stacker::new(network.target()),
            network,
            labels,
            top_k: settings.top_k,
            score_threshold: settings.score_threshold.unwrap_or(0.0),
            streams,
        }
    }

    fn read(&self, logits: &Tensor) -> Vec<Findings> {
        let pictures = logits.size().first().copied().unwrap_or(0);
        let classes = logits.size().get(1).copied().unwrap_or(0);
        let top_k = i64::try_from(self.top_k).unwrap_or(classes).min(classes);
        let (scores, ids) = logits.softmax(-1, Kind::Float).topk(top_k, -1, true, true); // [N, top_k]
        let one = |n: i64| {
            let class = |k: i64| {
                let id = usize::try_from(ids.int64_value(&[n, k])).unwrap_or(0);
                Classification {
                    class_id: u32::try_from(id).unwrap_or(u32::MAX),
                    label: self.labels.name(id).to_owned(),
                    score: scores.double_value(&[n, k]) as f32,
                }
            };
            let probable = |class: &Classification| class.score >= self.score_threshold;
            Findings { detections: Vec::new(), classes: (0..top_k).map(class).filter(probable).collect() }
        };
        (0..pictures).map(one).collect()
    }
}

impl Detect for Classifier {
    fn detect(&mut self, frames: &[DetectFrame<'_>]) -> Result<Detected, DetectError> {
        let pictures: Vec<&Pixels> = frames.iter().map(|frame| frame.pixels).collect();
        let refuse = |reason| DetectError { batch: frames.len(), reason };
        if pictures.windows(2).any(|two| two[0].size() != two[1].size()) {
            return Err(refuse("the pictures of the batch have different sizes".into()));
        }
        caught(|| {
            let _at_work = self.streams.begin(frames.len());
            let started = Instant::now();
            let logits = self.network.forward(&self.stacker.stack(&pictures));
            let inferred = Instant::now();
            let findings = self.read(&logits);
            Detected { findings, infer: inferred - started, post: inferred.elapsed() }
        })
        .map_err(refuse)
    }
}
