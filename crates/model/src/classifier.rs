//! A classifier at work: pictures in, their most probable classes out.

use std::time::Instant;

use lookout_config::ModelSettings;
use lookout_schema::Classification;
use lookout_stage::{Detect, DetectError, DetectFrame, Detected, Findings, Pixels};
use tch::{Kind, Tensor};

use crate::{
    input::{Stacker, one_size},
    labels::Labels,
    network::{PreparedClassifier, caught},
    replicas::Replica,
    streams::Streams,
};

/// A ResNet with its input's transform and its classes' names.
#[derive(Debug, Clone)]
pub(crate) struct Classifier {
    network: PreparedClassifier,
    stacker: Stacker,
    top: TopClasses,
    streams: Streams,
}

/// How logits are read.
#[derive(Debug, Clone)]
pub(crate) struct TopClasses {
    labels: Labels,
    top_k: usize,
    score_threshold: f32,
}

impl TopClasses {
    /// As `settings` ask for, the classes called by `labels`.
    pub(crate) fn new(settings: &ModelSettings, labels: Labels) -> Self {
        Self { labels, top_k: settings.top_k, score_threshold: settings.score_threshold.unwrap_or(0.0) }
    }

    /// The most probable classes of each row of `logits` `[N, classes]`.
    pub(crate) fn read(&self, logits: &Tensor) -> Vec<Vec<Classification>> {
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
            (0..top_k).map(class).filter(|class| class.score >= self.score_threshold).collect()
        };
        (0..pictures).map(one).collect()
    }
}

impl Classifier {
    /// The classifier of `network`, read by `top`.
    pub(crate) fn new(network: PreparedClassifier, top: TopClasses, streams: Streams) -> Self {
        Self { stacker: Stacker::new(network.target()), network, top, streams }
    }
}

impl Detect for Classifier {
    fn detect(&mut self, frames: &[DetectFrame<'_>]) -> Result<Detected, DetectError> {
        let pictures: Vec<&Pixels> = frames.iter().map(|frame| frame.pixels).collect();
        let refuse = |reason| DetectError { batch: frames.len(), reason };
        one_size(&pictures).map_err(refuse)?;
        caught(|| {
            let _at_work = self.streams.begin(frames.len());
            let started = Instant::now();
            let logits = self.network.forward(&self.stacker.stack(&pictures));
            let inferred = Instant::now();
            let of_picture = |classes| Findings { detections: Vec::new(), classes };
            let findings = self.top.read(&logits).into_iter().map(of_picture).collect();
            Detected { findings, infer: inferred - started, post: inferred.elapsed() }
        })
        .map_err(refuse)
    }
}

impl Replica for Classifier {
    fn replica(&self) -> Box<dyn Replica> {
        Box::new(self.clone())
    }
}
