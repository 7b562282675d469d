//! The secondary classifier: classifies the crops of a detector's detections.
//!
//! The crops of all frames of a batch, from any camera, are cut out of the detector's input on the device, resized
//! there to the classifier's input, and classified together.

use std::time::Instant;

use lookout_config::ClassifySettings;
use lookout_schema::{BBox, Size};
use lookout_stage::{BatchResult, Detect, DetectError, DetectFrame, InferenceResult, Pixels};
use tch::{Device, Kind, Tensor};

use crate::{
    ModelError, classifier::TopClasses, input::Stacker, libtorch_error::caught, network::PreparedClassifier,
    replica::Replica, streams::Streams,
};

/// Maximum number of crops in one forward pass.
const BATCH: usize = 32;

/// A detector with a classifier for its detections.
pub(crate) struct SecondStage {
    detector: Box<dyn Replica>,
    network: PreparedClassifier,
    top: TopClasses,
    stacker: Stacker,
    input: Size,
    wanted: Wanted,
    streams: Streams,
}

/// Selects the detections to classify, and defines how they are cropped.
#[derive(Debug, Clone)]
struct Wanted {
    classes: Vec<String>,
    margin: f32,
    min_side: f32,
}

/// The crop of one detection.
struct Crop {
    frame: usize,
    detection: usize,
    /// Left, top, width and height, in whole pixels of the detector's input.
    rect: [i64; 4],
}

impl SecondStage {
    /// Adds the classifier `network` with images of size `input` to `detector`, and runs it on one black crop.
    ///
    /// That run packs the classifier's weights; other numbers of crops need no preparation.
    ///
    /// # Errors
    /// libtorch returns an error: not enough memory, or `input` is too small for the network.
    pub(crate) fn new(
        detector: Box<dyn Replica>,
        (network, top): (PreparedClassifier, TopClasses),
        input: Size,
        settings: &ClassifySettings,
        streams: Streams,
    ) -> Result<Self, ModelError> {
        let stage = Self {
            detector,
            stacker: Stacker::new(network.target().in_fp32()),
            network,
            top,
            input,
            wanted: Wanted {
                classes: settings.classes.clone(),
                margin: settings.margin,
                min_side: settings.min_side,
            },
            streams,
        };
        let shape = [1, 3, i64::from(input.height), i64::from(input.width)];
        let black = Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        let at_work = stage.streams.start_batch(1);
        caught(|| drop(stage.network.forward(&black))).map_err(|reason| ModelError::Network { reason })?;
        drop(at_work);
        Ok(stage)
    }

    /// Classifies the selected detections of `detected` and stores their classes.
    fn name(&self, frames: &[DetectFrame<'_>], detected: &mut BatchResult) {
        let crops: Vec<Crop> = frames
            .iter()
            .enumerate()
            .flat_map(|(n, frame)| self.wanted.crops(n, frame, &detected.findings))
            .collect();
        if crops.is_empty() {
            return;
        }
        let _at_work = self.streams.start_batch(crops.len());
        let started = Instant::now();
        let logits = tch::no_grad(|| self.logits(frames, &crops));
        let inferred = Instant::now();
        for (crop, classes) in crops.iter().zip(self.top.read(&logits)) {
            let found = detected.findings.get_mut(crop.frame);
            if let Some(found) = found.and_then(|found| found.detections.get_mut(crop.detection)) {
                found.classes = classes;
            }
        }
        detected.infer += inferred - started;
        detected.post += inferred.elapsed();
    }

    /// Returns the logits `[crops, classes]`.
    fn logits(&self, frames: &[DetectFrame<'_>], crops: &[Crop]) -> Tensor {
        // Only frames with a crop are uploaded to the device again.
        let mut rows = vec![0; frames.len()];
        let mut images: Vec<&Pixels> = Vec::new();
        for crop in crops {
            let image = frames[crop.frame].pixels;
            if images.last().is_none_or(|last| !std::ptr::eq(*last, image)) {
                images.push(image);
            }
            rows[crop.frame] = images.len() - 1;
        }
        let x = self.stacker.stack(&images); // [images, 3, H, W]
        let size = [i64::from(self.input.height), i64::from(self.input.width)];
        let cut = |crop: &Crop| {
            let [left, top, width, height] = crop.rect;
            let row = rows[crop.frame] as i64;
            let cut = x.narrow(0, row, 1).narrow(2, top, height).narrow(3, left, width);
            cut.internal_upsample_bilinear2d_aa(size, false, None, None)
        };
        let mut rest = crops;
        let mut logits = Vec::new();
        for part in parts(crops.len()) {
            let (now, later) = rest.split_at(part);
            let cuts: Vec<Tensor> = now.iter().map(cut).collect();
            logits.push(self.network.forward(&Tensor::cat(&cuts, 0)));
            rest = later;
        }
        Tensor::cat(&logits, 0)
    }
}

impl Wanted {
    fn crops<'a>(
        &'a self,
        n: usize,
        frame: &'a DetectFrame<'_>,
        findings: &'a [InferenceResult],
    ) -> impl Iterator<Item = Crop> + 'a {
        let detections = findings.get(n).map(|found| found.detections.as_slice()).unwrap_or_default();
        let named = |label: &str| self.classes.is_empty() || self.classes.iter().any(|class| class == label);
        let wanted = detections.iter().enumerate().filter(move |(_, found)| named(&found.label));
        wanted.filter_map(move |(detection, found)| {
            self.rect(found.bbox, frame).map(|rect| Crop { frame: n, detection, rect })
        })
    }

    /// Returns the crop of a box given in pixels of the source, with its margin, rounded outwards; `None` if the box is
    /// too small in the network's input.
    fn rect(&self, bbox: BBox, frame: &DetectFrame<'_>) -> Option<[i64; 4]> {
        let there = frame.placement.to_input(bbox);
        if there.x2 - there.x1 < self.min_side || there.y2 - there.y1 < self.min_side {
            return None;
        }
        let (x, y) = (self.margin * (bbox.x2 - bbox.x1), self.margin * (bbox.y2 - bbox.y1));
        let wide = BBox { x1: bbox.x1 - x, y1: bbox.y1 - y, x2: bbox.x2 + x, y2: bbox.y2 + y };
        // Beyond the source's border are only the letterbox's bars.
        let there = frame.placement.to_input(wide.clipped(frame.source)?).clipped(frame.pixels.size())?;
        let (left, top) = (there.x1.floor() as i64, there.y1.floor() as i64);
        Some([left, top, there.x2.ceil() as i64 - left, there.y2.ceil() as i64 - top])
    }
}

/// Splits `count` into powers of two, so that libtorch and the GPU's memory allocator do not get a new shape with every
/// batch.
fn parts(count: usize) -> impl Iterator<Item = usize> {
    let mut rest = count;
    std::iter::from_fn(move || {
        let part = BATCH.min(rest.checked_ilog2().map(|power| 1 << power)?);
        rest -= part;
        Some(part)
    })
}

impl Detect for SecondStage {
    fn detect(&mut self, frames: &[DetectFrame<'_>]) -> Result<BatchResult, DetectError> {
        let mut detected = self.detector.detect(frames)?;
        caught(|| self.name(frames, &mut detected))
            .map_err(|reason| DetectError { batch: frames.len(), reason })?;
        Ok(detected)
    }
}

impl Replica for SecondStage {
    fn replica(&self) -> Box<dyn Replica> {
        Box::new(Self {
            detector: self.detector.replica(),
            network: self.network.clone(),
            top: self.top.clone(),
            stacker: self.stacker.clone(),
            input: self.input,
            wanted: self.wanted.clone(),
            streams: self.streams.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use lookout_stage::{DetectionFilter, ResizeMode};

    use super::*;

    #[test]
    fn crop_batch_sizes_are_rounded_up_to_a_few() {
        let list = |count| parts(count).collect::<Vec<_>>();
        assert_eq!(list(0), Vec::<usize>::new());
        assert_eq!(list(13), [8, 4, 1]);
        assert_eq!(list(100), [32, 32, 32, 4]);
        assert_eq!(list(63), [32, 16, 8, 4, 2, 1]);
    }

    #[test]
    fn crops_have_a_margin_and_no_letterbox_bars() {
        let (source, input) = (Size { width: 400, height: 200 }, Size { width: 200, height: 200 });
        let pixels = Pixels::new(input, vec![0; 200 * 200 * 3]).unwrap();
        let placement = ResizeMode::Letterbox.place(source, input);
        let frame = DetectFrame { pixels: &pixels, source, placement, keep: DetectionFilter::all() };
        let wanted = Wanted { classes: Vec::new(), margin: 0.5, min_side: 10.0 };
        // The placement is half the size, shifted down by 50; the margin is clipped at the source's left and upper
        // border.
        let rect = |corners: [f32; 4]| wanted.rect(BBox::from(corners), &frame);
        assert_eq!(rect([10.0, 10.0, 50.0, 110.0]), Some([0, 50, 35, 80]));
        assert_eq!(rect([100.0, 100.0, 121.0, 140.0]), Some([44, 90, 22, 40]));
        assert_eq!(rect([100.0, 100.0, 119.0, 140.0]), None);
    }
}
