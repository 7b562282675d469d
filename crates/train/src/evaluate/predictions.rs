//! The predictions of a network for each image of a data set, with the ground truth.

use lookout_measure::{FoundObject, ObjectTarget};
use lookout_model::{DetectionSettings, PreparedClassifier, PreparedDetector, caught};
use lookout_schema::BBox;
use tch::{Kind, Tensor};

use super::{
    EvaluationError, EvaluationSettings,
    batches::{EvaluationBatch, for_each_batch},
};
use crate::{
    Target,
    data::{DataSet, Entry},
};

/// The detections in one image.
#[derive(Debug)]
pub struct DetectorPrediction<'s> {
    pub entry: &'s Entry,
    /// The ground truth, in pixels of the image file, as are the boxes of `found`.
    pub truth: &'s [ObjectTarget],
    /// The detections, sorted by descending score.
    pub found: Vec<FoundObject>,
}

/// The scores of a classifier for one image.
#[derive(Debug)]
pub struct ClassifierPrediction<'s> {
    pub entry: &'s Entry,
    /// The ground-truth class, from 0.
    pub truth: u32,
    /// The score of each class, 0 to 1; they sum to 1.
    pub scores: Vec<f32>,
}

/// Returns the postprocessing settings for measuring precision and recall: a score threshold of 0.05 and at most 100
/// detections per image, as torchvision evaluates most of its detectors. The other settings are the network's own.
pub fn evaluation_detection_settings(network: &PreparedDetector) -> DetectionSettings {
    DetectionSettings { score_threshold: 0.05, max_detections: 100, ..network.settings }
}

/// Runs a detector on the images of `set` in order, and calls `each` with the detections in each image. The classes of
/// the data set must be the network's ([`DataSet::with_classes`]).
///
/// # Errors
/// Returns an error if the data set has another kind or number of classes, an image cannot be read, or the network
/// fails.
pub fn predict_objects(
    network: &PreparedDetector,
    set: &DataSet,
    settings: EvaluationSettings,
    postprocessing: &DetectionSettings,
    each: &mut dyn FnMut(DetectorPrediction<'_>),
) -> Result<(), EvaluationError> {
    if set.is_classification() {
        return Err(EvaluationError::NeedsObjects);
    }
    // Only the network has the background as a class.
    same_classes(network.classes().saturating_sub(1), set)?;
    for_each_batch(set, settings, |EvaluationBatch { first, x, transforms }| {
        let found = caught(|| network.find(&x, postprocessing));
        let found = found.map_err(|reason| EvaluationError::Network { reason })?;
        let entries = &set.entries()[first..];
        for ((entry, (source, placement)), found) in entries.iter().zip(transforms).zip(found) {
            let object = |((corners, score), class_id): ((&[f32; 4], &f32), &u32)| {
                // RetinaNet and FCOS also have an output for the background, which is not an object.
                set.classes().index(*class_id)?;
                let bbox = placement.to_source(BBox::from(*corners)).clipped(source)?;
                Some(FoundObject { class_id: *class_id, bbox, score: *score })
            };
            let found = found.boxes.iter().zip(&found.scores).zip(&found.labels).filter_map(object).collect();
            each(DetectorPrediction { entry, truth: entry.truth(), found });
        }
        Ok(())
    })
}

/// Runs a classifier on the images of `set` in order, and calls `each` with the scores of each image. The classes of
/// the data set must be the network's ([`DataSet::with_classes`]).
///
/// # Errors
/// Returns the same errors as [`predict_objects`].
pub fn predict_classes(
    network: &PreparedClassifier,
    set: &DataSet,
    settings: EvaluationSettings,
    each: &mut dyn FnMut(ClassifierPrediction<'_>),
) -> Result<(), EvaluationError> {
    if !set.is_classification() {
        return Err(EvaluationError::NeedsImageClasses);
    }
    same_classes(network.classes(), set)?;
    for_each_batch(set, settings, |EvaluationBatch { first, x, .. }| {
        let scores = caught(|| rows(&network.forward(&x).softmax(-1, Kind::Float)));
        let scores = scores.map_err(|reason| EvaluationError::Network { reason })?;
        for (entry, scores) in set.entries()[first..].iter().zip(scores) {
            if let Target::Class(parts) = &entry.target
                && let Some((truth, _)) = parts.iter().max_by(|a, b| a.1.total_cmp(&b.1))
            {
                each(ClassifierPrediction { entry, truth: *truth, scores });
            }
        }
        Ok(())
    })
}

fn same_classes(network: usize, set: &DataSet) -> Result<(), EvaluationError> {
    let set = set.classes().len();
    if network == set { Ok(()) } else { Err(EvaluationError::Classes { network, set }) }
}

/// Returns the rows of `[N, C]`.
fn rows(scores: &Tensor) -> Vec<Vec<f32>> {
    let classes = scores.size().last().map_or(1, |classes| (*classes).max(1)) as usize;
    let mut numbers = vec![0.0_f32; scores.numel()];
    scores.contiguous().copy_data(&mut numbers, scores.numel());
    numbers.chunks_exact(classes).map(<[f32]>::to_vec).collect()
}
