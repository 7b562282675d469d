//! COCO's detection metrics, equal to pycocotools' `COCOeval` for boxes: <https://cocodataset.org/#detection-eval>, Lin
//! et al. 2014, <https://arxiv.org/abs/1405.0312>.

mod curve;
mod matching;
mod summary;

use lookout_schema::BBox;

pub use self::summary::{ClassPrecision, CocoSummary};
use self::{
    curve::{View, average_precision, precisions, recall},
    matching::{AREAS, Judged, MOST, Object, THRESHOLDS, judged},
};
use crate::{ClassCounts, IgnoredAre, ObjectTarget};

/// A detection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FoundObject {
    /// Class id from 1, as in the ground truth.
    pub class_id: u32,
    /// Bounding box in pixels of the image, as in the ground truth.
    pub bbox: BBox,
    /// Score, 0 to 1.
    pub score: f32,
}

/// Evaluates a detector image by image.
///
/// A detection matches the object of its class with the highest IoU. Each object is matched once, by the detection with
/// the highest score. At most 100 detections per class and image are used. A detection that matches an ignored object
/// is neither a true nor a false positive:
///
/// - for [`IgnoredAre::Crowds`] as in COCO: a crowd can be matched any number of times, and the overlap is divided by
///   the area of the detection instead of the union;
/// - for [`IgnoredAre::Difficult`] as in Pascal VOC: an ignored object is matched like any other object.
#[derive(Debug, Clone)]
pub struct CocoEvaluation {
    /// Class names, where the first has the id 1.
    classes: Vec<String>,
    ignored: IgnoredAre,
    judged: Vec<OfClass>,
    images: usize,
}

/// The evaluated detections and the number of objects of a class.
#[derive(Debug, Clone, Default)]
struct OfClass {
    judged: Vec<Judged>,
    /// Number of objects that are not ignored, for each of [`AREAS`].
    objects: [usize; AREAS.len()],
}

impl CocoEvaluation {
    /// Creates an evaluation for `classes`, whose ids start at 1. `ignored` is the kind of the ignored objects.
    pub fn new(classes: Vec<String>, ignored: IgnoredAre) -> Self {
        let judged = vec![OfClass::default(); classes.len()];
        Self { classes, ignored, judged, images: 0 }
    }

    /// Adds an image with its ground truth and detections, in pixels of that image and in any order. Objects and
    /// detections of unknown classes are skipped. For detections with equal scores those of earlier images come first,
    /// so images must be added in the order of their ids for results equal to those of pycocotools.
    pub fn add(&mut self, truth: &[ObjectTarget], found: &[FoundObject]) {
        self.images += 1;
        for (id, class) in (1..).zip(&mut self.judged) {
            let crowds = self.ignored == IgnoredAre::Crowds;
            let objects: Vec<Object> = truth
                .iter()
                .filter(|object| object.class_id == id)
                .map(|object| Object::new(object, crowds))
                .collect();
            let found: Vec<FoundObject> =
                found.iter().filter(|found| found.class_id == id).copied().collect();
            for (count, area) in class.objects.iter_mut().zip(AREAS) {
                *count += objects.iter().filter(|object| !object.is_ignored(area)).count();
            }
            class.judged.extend(judged(&objects, found));
        }
    }

    /// Returns the metrics of all images added so far.
    pub fn summary(&self) -> CocoSummary {
        let classes = (1..).zip(&self.classes).zip(self.sorted());
        let classes = classes.map(|((id, name), class)| ClassPrecision::new(id, name, &class)).collect();
        CocoSummary::new(classes, self.images)
    }

    /// Returns the precision-recall curve of each class in the ground truth, as its name and the interpolated precision
    /// at the recalls 0, 0.01, .. 1, at an IoU of 0.5.
    pub fn curves(&self) -> Vec<(&str, Vec<f64>)> {
        let view = View { area: 0, threshold: 0, most: MOST };
        let classes = self.classes.iter().zip(self.sorted()).filter(|(_, class)| class.objects[0] > 0);
        classes
            .map(|(name, class)| (name.as_str(), precisions(&class.judged, class.objects[0], view)))
            .collect()
    }

    /// Returns the counts of each class for the detections with a score of at least `threshold`, at an IoU of 0.5.
    pub fn counts(&self, threshold: f32) -> Vec<ClassCounts> {
        let classes = (1..).zip(&self.classes).zip(&self.judged);
        classes.map(|((id, name), class)| class.counts(id, name, threshold)).collect()
    }

    /// Returns each class with its detections sorted by descending score.
    fn sorted(&self) -> impl Iterator<Item = OfClass> {
        self.judged.iter().map(|class| {
            let mut class = class.clone();
            class.judged.sort_by(|a, b| b.score.total_cmp(&a.score));
            class
        })
    }
}

impl OfClass {
    /// Returns the average precision, as the mean over the thresholds in `over`, or `None` if there are no objects.
    fn precision(&self, area: usize, over: std::ops::Range<usize>) -> Option<f64> {
        let objects = self.objects[area];
        let view = |threshold| View { area, threshold, most: MOST };
        self.mean(objects, over, |threshold| average_precision(&self.judged, objects, view(threshold)))
    }

    fn recall(&self, area: usize, most: usize) -> Option<f64> {
        let objects = self.objects[area];
        let view = |threshold| View { area, threshold, most };
        self.mean(objects, 0..THRESHOLDS.len(), |threshold| recall(&self.judged, objects, view(threshold)))
    }

    fn counts(&self, class_id: u32, name: &str, threshold: f32) -> ClassCounts {
        let view = View { area: 0, threshold: 0, most: MOST };
        let sure = || self.judged.iter().filter(|judged| judged.score >= threshold);
        let count = |is_right| sure().filter(|judged| view.is_right(judged) == Some(is_right)).count();
        let (right, wrong) = (count(true), count(false));
        ClassCounts { class_id, name: name.to_owned(), right, wrong, missed: self.objects[0] - right }
    }

    fn mean(&self, objects: usize, over: std::ops::Range<usize>, of: impl Fn(usize) -> f64) -> Option<f64> {
        let count = over.len();
        (objects > 0).then(|| over.map(of).sum::<f64>() / count as f64)
    }
}
