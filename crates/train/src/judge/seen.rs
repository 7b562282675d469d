//! What a network sees in each picture of a data set, beside what is true of it.

use lookout_measure::{FoundObject, ObjectTarget};
use lookout_model::{DetectionSettings, PreparedClassifier, PreparedDetector, caught};
use lookout_schema::BBox;
use tch::{Kind, Tensor};

use super::{
    Look, MeasureError,
    look::{Shown, each_batch},
};
use crate::{
    Target,
    data::{DataSet, Entry},
};

/// A detector's picture.
#[derive(Debug)]
pub struct SeenObjects<'s> {
    pub entry: &'s Entry,
    /// In pixels of the picture's file, as `found` is.
    pub truth: &'s [ObjectTarget],
    /// The surest first.
    pub found: Vec<FoundObject>,
}

/// A classifier's picture.
#[derive(Debug)]
pub struct SeenClasses<'s> {
    pub entry: &'s Entry,
    /// Its class, from 0.
    pub truth: u32,
    /// Of each class, 0 to 1 and 1 in all.
    pub scores: Vec<f32>,
}

/// How a detector is read where precision is measured against recall: scores from 0.05 on, and 100 detections of a
/// picture, as torchvision measures most of its detectors; the rest is the network's own.
pub fn measured_settings(network: &PreparedDetector) -> DetectionSettings {
    DetectionSettings { score_threshold: 0.05, max_detections: 100, ..network.settings }
}

/// Shows a detector the pictures of `set`, in its order; `each` is told what it found in each. The data set's classes
/// have to be the network's ([`DataSet::with_classes`]).
///
/// # Errors
/// A data set of another kind or number of classes; a picture that cannot be read; a network that fails.
pub fn see_objects(
    network: &PreparedDetector,
    set: &DataSet,
    look: Look,
    settings: &DetectionSettings,
    each: &mut dyn FnMut(SeenObjects<'_>),
) -> Result<(), MeasureError> {
    if set.is_of_pictures() {
        return Err(MeasureError::NeedsObjects);
    }
    // The background is of the network only.
    same_classes(network.classes().saturating_sub(1), set)?;
    each_batch(set, look, |Shown { first, x, places }| {
        let found = caught(|| network.find(&x, settings));
        let found = found.map_err(|reason| MeasureError::Network { reason })?;
        let entries = &set.entries()[first..];
        for ((entry, (source, placement)), found) in entries.iter().zip(places).zip(found) {
            let object = |((corners, score), class_id): ((&[f32; 4], &f32), &u32)| {
                // RetinaNet and FCOS have an output for the background too, which is no object.
                set.classes().place(*class_id)?;
                let bbox = placement.to_source(BBox::from(*corners)).clipped(source)?;
                Some(FoundObject { class_id: *class_id, bbox, score: *score })
            };
            let found = found.boxes.iter().zip(&found.scores).zip(&found.labels).filter_map(object).collect();
            each(SeenObjects { entry, truth: entry.truth(), found });
        }
        Ok(())
    })
}

/// Shows a classifier the pictures of `set`, in its order; `each` is told how it scores each. The data set's classes
/// have to be the network's ([`DataSet::with_classes`]).
///
/// # Errors
/// As [`see_objects`].
pub fn see_classes(
    network: &PreparedClassifier,
    set: &DataSet,
    look: Look,
    each: &mut dyn FnMut(SeenClasses<'_>),
) -> Result<(), MeasureError> {
    if !set.is_of_pictures() {
        return Err(MeasureError::NeedsPictures);
    }
    same_classes(network.classes(), set)?;
    each_batch(set, look, |Shown { first, x, .. }| {
        let scores = caught(|| rows(&network.forward(&x).softmax(-1, Kind::Float)));
        let scores = scores.map_err(|reason| MeasureError::Network { reason })?;
        for (entry, scores) in set.entries()[first..].iter().zip(scores) {
            if let Target::Class(parts) = &entry.target
                && let Some((truth, _)) = parts.iter().max_by(|a, b| a.1.total_cmp(&b.1))
            {
                each(SeenClasses { entry, truth: *truth, scores });
            }
        }
        Ok(())
    })
}

fn same_classes(network: usize, set: &DataSet) -> Result<(), MeasureError> {
    let set = set.classes().len();
    if network == set { Ok(()) } else { Err(MeasureError::Classes { network, set }) }
}

/// The rows of `[N, C]`.
fn rows(scores: &Tensor) -> Vec<Vec<f32>> {
    let classes = scores.size().last().map_or(1, |classes| (*classes).max(1)) as usize;
    let mut numbers = vec![0.0_f32; scores.numel()];
    scores.contiguous().copy_data(&mut numbers, scores.numel());
    numbers.chunks_exact(classes).map(<[f32]>::to_vec).collect()
}
