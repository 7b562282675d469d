//! A detector at work: pictures in, what is in them out.

use std::time::Instant;

use lookout_schema::{BBox, Detection};
use lookout_stage::{Detect, DetectError, DetectFrame, Detected, Findings, Pixels};
use tch::Tensor;

use crate::{
    detection::{DetectionSettings, Detections, extent},
    graphs::Graphs,
    input::{Stacker, one_size},
    labels::Labels,
    network::{PreparedDetector, caught},
    replicas::Replica,
    streams::Streams,
};

/// The networks halve a picture five times; other sides would be rounded on the way, and torchvision's
/// anchors with them.
const SIDES_DIVIDE_BY: u32 = 32;

/// A detector with its input's transform and its classes' names.
#[derive(Debug, Clone)]
pub(crate) struct Detector {
    network: PreparedDetector,
    stacker: Stacker,
    labels: Labels,
    streams: Streams,
    /// On a GPU, of a detector whose outputs are read there.
    graphs: Option<Graphs>,
}

impl Detector {
    pub(crate) fn new(network: PreparedDetector, labels: Labels, streams: Streams) -> Self {
        let graphs = network.device_reading([1, 1]).and_then(|_| Graphs::on(network.target()));
        Self { stacker: Stacker::new(network.target()), network, labels, streams, graphs }
    }
}

/// Returns the detections in each of `images`, computed by the GPU's graphs.
fn run_graphs(
    graphs: &mut Graphs,
    network: &PreparedDetector,
    images: &[&Pixels],
) -> Result<Vec<Detections>, String> {
    let Some(size) = images.first().map(|image| image.size()) else { return Ok(Vec::new()) };
    let extent = [size.height, size.width].map(i64::from);
    let reading = network.device_reading(extent).ok_or("the outputs cannot be read on the GPU")?;
    let forward = |x: &Tensor| {
        let read = network.outputs(x, extent).read_on_device(&reading);
        let read = read.unwrap_or_else(|| panic!("the outputs cannot be read on the GPU"));
        read.unwrap_or_else(|error| panic!("{error}"))
    };
    let rows = graphs.run(images, SIDES_DIVIDE_BY, &forward)?;
    Ok(rows.iter().map(|row| Detections::from_row(row)).collect())
}

/// What was found in the picture of `frame`, in pixels of its source and called by `labels`; what is no class,
/// has no area there or is not to be kept is left out.
pub(crate) fn findings(labels: &Labels, found: &Detections, frame: &DetectFrame<'_>) -> Findings {
    let mut findings = Findings::default();
    let boxes = found.boxes.iter().zip(&found.scores).zip(&found.labels);
    for ((corners, score), class_id) in boxes {
        let Some(label) = labels.shown(*class_id as usize) else { continue };
        let bbox = frame.placement.to_source(BBox::from(*corners)).clipped(frame.source);
        if let Some(bbox) = bbox.filter(|bbox| frame.keep.keeps(label, *bbox, frame.source)) {
            let (class_id, label, score) = (*class_id, label.to_owned(), *score);
            findings.detections.push(Detection { class_id, label, score, bbox, classes: Vec::new() });
        }
    }
    findings
}

/// `x` with zeros below and to the right, which is the mean's color: torchvision's `batch_images`.
fn padded(x: Tensor) -> Tensor {
    let [bottom, right] = extent(&x).map(|side| (-side).rem_euclid(i64::from(SIDES_DIVIDE_BY)));
    if (bottom, right) == (0, 0) { x } else { x.constant_pad_nd([0, right, 0, bottom]) }
}

impl PreparedDetector {
    /// What is in each of the pictures `x` `[N, 3, H, W]`, normalized, of any type and on any device, read by
    /// `settings` and in pixels of `x`. Sides need not be multiples of anything: what is missing is padded.
    ///
    /// # Panics
    /// As [`PreparedDetector::forward`].
    pub fn find(&self, x: &Tensor, settings: &DetectionSettings) -> Vec<Detections> {
        let picture = extent(x);
        let outputs = self.forward(&padded(x.shallow_clone()), picture);
        tch::no_grad(|| outputs.read(picture, settings))
    }
}

impl Detect for Detector {
    fn detect(&mut self, frames: &[DetectFrame<'_>]) -> Result<Detected, DetectError> {
        let pictures: Vec<&Pixels> = frames.iter().map(|frame| frame.pixels).collect();
        let refuse = |reason| DetectError { batch: frames.len(), reason };
        one_size(&pictures).map_err(refuse)?;
        if pictures.is_empty() {
            return Ok(Detected {
                findings: Vec::new(),
                infer: Default::default(),
                post: Default::default(),
                passes: 0,
            });
        }
        if let Some(graphs) = &mut self.graphs {
            let started = Instant::now();
            let found = caught(|| run_graphs(graphs, &self.network, &pictures)).flatten().map_err(refuse)?;
            let inferred = Instant::now();
            let named = found.iter().zip(frames).map(|(found, frame)| findings(&self.labels, found, frame));
            let findings = named.collect();
            let (infer, passes) = (inferred - started, graphs.passes());
            return Ok(Detected { findings, infer, post: inferred.elapsed(), passes });
        }
        caught(|| {
            let _at_work = self.streams.begin(frames.len());
            let started = Instant::now();
            let x = self.stacker.stack(&pictures);
            let picture = extent(&x);
            let outputs = self.network.forward(&padded(x), picture);
            self.network.target().wait();
            let inferred = Instant::now();
            let found = self.network.read(&outputs, picture);
            let findings =
                found.iter().zip(frames).map(|(found, frame)| findings(&self.labels, found, frame)).collect();
            Detected { findings, infer: inferred - started, post: inferred.elapsed(), passes: 1 }
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

impl Replica for Detector {
    fn replica(&self) -> Box<dyn Replica> {
        Box::new(self.clone())
    }
}
