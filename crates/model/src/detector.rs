//! Detector inference: from images to the objects in them.

use std::time::Instant;

use lookout_schema::{BBox, Detection};
use lookout_stage::{BatchResult, Detect, DetectError, DetectFrame, InferenceResult, Pixels};
use tch::Tensor;

use crate::{
    detection::{DetectionSettings, Detections, extent},
    graphs::Graphs,
    input::{Stacker, one_size},
    labels::Labels,
    libtorch_error::caught,
    network::PreparedDetector,
    replica::Replica,
    streams::Streams,
};

/// Divisor of the height and width of a detector's input: the networks halve the image five times. Other sizes would be
/// rounded along the way, and torchvision's anchors with them.
const SIDES_DIVIDE_BY: u32 = 32;

/// A detector with its preprocessing and its class names.
#[derive(Debug, Clone)]
pub(crate) struct Detector {
    network: PreparedDetector,
    stacker: Stacker,
    labels: Labels,
    streams: Streams,
    /// CUDA graphs; `None` on the CPU, and for detectors whose postprocessing does not run on the GPU.
    graphs: Option<Graphs>,
}

impl Detector {
    pub(crate) fn new(network: PreparedDetector, labels: Labels, streams: Streams) -> Self {
        let graphs = network.device_reading([1, 1]).and_then(|_| Graphs::on(network.target()));
        Self { stacker: Stacker::new(network.target()), network, labels, streams, graphs }
    }
}

/// Returns the detections in each of `images`, computed by CUDA graphs.
fn run_graphs(
    graphs: &mut Graphs,
    network: &PreparedDetector,
    images: &[&Pixels],
) -> Result<Vec<Detections>, String> {
    let Some(size) = images.first().map(|image| image.size()) else { return Ok(Vec::new()) };
    let extent = [size.height, size.width].map(i64::from);
    let reading = network.device_reading(extent).ok_or("the outputs cannot be postprocessed on the GPU")?;
    let forward = |x: &Tensor| {
        let read = network.outputs(x, extent).read_on_device(&reading);
        let read = read.unwrap_or_else(|| panic!("the outputs cannot be postprocessed on the GPU"));
        read.unwrap_or_else(|error| panic!("{error}"))
    };
    let rows = graphs.run(images, SIDES_DIVIDE_BY, &forward)?;
    Ok(rows.iter().map(|row| Detections::from_row(row)).collect())
}

/// Converts the detections of one frame to pixels of the source frame and adds the class names from `labels`.
///
/// Leaves out detections whose class has no name or is a placeholder, whose box has no area within the source frame, or
/// that the frame's detection filter rejects.
pub(crate) fn findings(labels: &Labels, found: &Detections, frame: &DetectFrame<'_>) -> InferenceResult {
    let mut findings = InferenceResult::default();
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

/// Pads `x` with zeros below and to the right. Zero is the mean color after normalization. This is torchvision's
/// `batch_images`.
fn padded(x: Tensor) -> Tensor {
    let [bottom, right] = extent(&x).map(|side| (-side).rem_euclid(i64::from(SIDES_DIVIDE_BY)));
    if (bottom, right) == (0, 0) { x } else { x.constant_pad_nd([0, right, 0, bottom]) }
}

impl PreparedDetector {
    /// Returns the detections in each of the images `x` `[N, 3, H, W]`, in pixels of `x`, postprocessed by `settings`.
    ///
    /// `x` is normalized and has any dtype and device. Height and width can have any value: `x` is padded as needed.
    ///
    /// # Panics
    /// Panics as [`PreparedDetector::forward`] does.
    pub fn find(&self, x: &Tensor, settings: &DetectionSettings) -> Vec<Detections> {
        let image_size = extent(x);
        let outputs = self.forward(&padded(x.shallow_clone()), image_size);
        tch::no_grad(|| outputs.read(image_size, settings))
    }
}

impl Detect for Detector {
    fn detect(&mut self, frames: &[DetectFrame<'_>]) -> Result<BatchResult, DetectError> {
        let images: Vec<&Pixels> = frames.iter().map(|frame| frame.pixels).collect();
        let refuse = |reason| DetectError { batch: frames.len(), reason };
        one_size(&images).map_err(refuse)?;
        if images.is_empty() {
            return Ok(BatchResult {
                findings: Vec::new(),
                infer: Default::default(),
                post: Default::default(),
                passes: 0,
            });
        }
        if let Some(graphs) = &mut self.graphs {
            let started = Instant::now();
            let found = caught(|| run_graphs(graphs, &self.network, &images)).flatten().map_err(refuse)?;
            let inferred = Instant::now();
            let named = found.iter().zip(frames).map(|(found, frame)| findings(&self.labels, found, frame));
            let findings = named.collect();
            let (infer, passes) = (inferred - started, graphs.passes());
            return Ok(BatchResult { findings, infer, post: inferred.elapsed(), passes });
        }
        caught(|| {
            let _at_work = self.streams.start_batch(frames.len());
            let started = Instant::now();
            let x = self.stacker.stack(&images);
            let image_size = extent(&x);
            let outputs = self.network.forward(&padded(x), image_size);
            self.network.target().wait();
            let inferred = Instant::now();
            let found = self.network.read(&outputs, image_size);
            let findings =
                found.iter().zip(frames).map(|(found, frame)| findings(&self.labels, found, frame)).collect();
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

impl Replica for Detector {
    fn replica(&self) -> Box<dyn Replica> {
        Box::new(self.clone())
    }
}
