//! Classifier inference: from images to their most probable classes.

use std::time::Instant;

use lookout_config::ModelSettings;
use lookout_schema::Classification;
use lookout_stage::{BatchResult, Detect, DetectError, DetectFrame, InferenceResult, Pixels};
use tch::{Device, Kind, Tensor};

use crate::{
    graphs::Graphs,
    input::{Stacker, one_size},
    labels::Labels,
    libtorch_error::caught,
    network::PreparedClassifier,
    replica::Replica,
    streams::Streams,
};

/// A ResNet with its preprocessing and its class names.
#[derive(Debug, Clone)]
pub(crate) struct Classifier {
    network: PreparedClassifier,
    stacker: Stacker,
    top: TopClasses,
    streams: Streams,
    /// CUDA graphs; `None` on the CPU.
    graphs: Option<Graphs>,
}

/// Postprocessing of logits: the `top_k` best classes whose score is at least `score_threshold`.
#[derive(Debug, Clone)]
pub(crate) struct TopClasses {
    labels: Labels,
    top_k: usize,
    score_threshold: f32,
}

impl TopClasses {
    /// Creates the postprocessing that `settings` asks for, with the class names `labels`.
    pub(crate) fn new(settings: &ModelSettings, labels: Labels) -> Self {
        Self { labels, top_k: settings.top_k, score_threshold: settings.score_threshold.unwrap_or(0.0) }
    }

    /// Returns the most probable classes of each row of `logits` `[N, classes]`, the best first.
    pub(crate) fn read(&self, logits: &Tensor) -> Vec<Vec<Classification>> {
        let best = self.best(logits).to_device(Device::Cpu).contiguous();
        let width = best.size().get(1).map_or(0, |width| usize::try_from(*width).unwrap_or(0));
        let mut numbers = vec![0.0; best.numel()];
        best.copy_data(&mut numbers, best.numel());
        if width == 0 {
            return vec![Vec::new(); usize::try_from(best.size()[0]).unwrap_or(0)];
        }
        numbers.chunks_exact(width).map(|row| self.named(row)).collect()
    }

    /// Returns the scores of the most probable classes of each row of `logits` `[N, classes]`, followed by their class
    /// ids.
    ///
    /// The result is `[N, 2 * top_k]` in fp32, on the device of the logits.
    fn best(&self, logits: &Tensor) -> Tensor {
        let classes = logits.size().get(1).copied().unwrap_or(0);
        let top_k = i64::try_from(self.top_k).unwrap_or(classes).min(classes);
        let (scores, ids) = logits.softmax(-1, Kind::Float).topk(top_k, -1, true, true); // [N, top_k]
        Tensor::cat(&[scores, ids.to_kind(Kind::Float)], 1)
    }

    /// Converts one row of [`TopClasses::best`].
    fn named(&self, row: &[f32]) -> Vec<Classification> {
        let (scores, ids) = row.split_at(row.len() / 2);
        let class = |(score, id): (&f32, &f32)| {
            let (score, class_id) = (*score, *id as u32);
            Classification { class_id, label: self.labels.name(class_id as usize).to_owned(), score }
        };
        scores.iter().zip(ids).map(class).filter(|class| class.score >= self.score_threshold).collect()
    }
}

impl Classifier {
    /// Creates a classifier from `network` with the postprocessing `top`.
    pub(crate) fn new(network: PreparedClassifier, top: TopClasses, streams: Streams) -> Self {
        let graphs = Graphs::on(network.target());
        Self { stacker: Stacker::new(network.target()), network, top, streams, graphs }
    }

    /// Returns the most probable classes of each of `images`, computed by CUDA graphs.
    fn run_graphs(
        graphs: &mut Graphs,
        network: &PreparedClassifier,
        top: &TopClasses,
        images: &[&Pixels],
    ) -> Result<Vec<Vec<Classification>>, String> {
        let rows = graphs.run(images, 1, &|x| (top.best(&network.logits(x)), Vec::new()))?;
        Ok(rows.iter().map(|row| top.named(row)).collect())
    }
}

impl Detect for Classifier {
    fn detect(&mut self, frames: &[DetectFrame<'_>]) -> Result<BatchResult, DetectError> {
        let images: Vec<&Pixels> = frames.iter().map(|frame| frame.pixels).collect();
        let refuse = |reason| DetectError { batch: frames.len(), reason };
        one_size(&images).map_err(refuse)?;
        let of_image = |classes| InferenceResult { detections: Vec::new(), classes };
        if let Some(graphs) = &mut self.graphs {
            let started = Instant::now();
            let classes = caught(|| Self::run_graphs(graphs, &self.network, &self.top, &images));
            let classes = classes.flatten().map_err(refuse)?;
            let findings = classes.into_iter().map(of_image).collect();
            let (infer, passes) = (started.elapsed(), graphs.passes());
            return Ok(BatchResult { findings, infer, post: Default::default(), passes });
        }
        caught(|| {
            let _at_work = self.streams.start_batch(frames.len());
            let started = Instant::now();
            let logits = self.network.forward(&self.stacker.stack(&images));
            let inferred = Instant::now();
            let findings = self.top.read(&logits).into_iter().map(of_image).collect();
            BatchResult { findings, infer: inferred - started, post: inferred.elapsed(), passes: 1 }
        })
        .map_err(refuse)
    }

    fn prepare(&mut self, frames: &[DetectFrame<'_>]) -> Result<(), DetectError> {
        self.graphs.iter_mut().for_each(|graphs| graphs.record_exactly(true));
        let detected = self.detect(frames);
        self.graphs.iter_mut().for_each(|graphs| graphs.record_exactly(false));
        detected.map(drop)
    }
}

impl Replica for Classifier {
    fn replica(&self) -> Box<dyn Replica> {
        Box::new(self.clone())
    }
}
