//! COCO's measure of detectors, equal to pycocotools' `COCOeval` of boxes:
//! <https://cocodataset.org/#detection-eval>, Lin et al. 2014, <https://arxiv.org/abs/1405.0312>.

mod curve;
mod matching;
mod picture;
mod summary;

use lookout_schema::BBox;

pub use self::summary::{ClassPrecision, CocoSummary};
use self::{
    curve::{View, average_precision, precisions, recall},
    matching::{AREAS, Judged, MOST, Object, THRESHOLDS, judged},
};
use crate::{ClassCounts, IgnoredAre, ObjectTarget};

/// What a detector found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FoundObject {
    /// From 1, as the truth's.
    pub class_id: u32,
    /// In pixels of the picture, as the truth's.
    pub bbox: BBox,
    /// 0 to 1.
    pub score: f32,
}

/// Looks at pictures one by one and says at last how good a detector is.
///
/// A detection finds the object of its class that it overlaps most, each object is found once, by the surest. At
/// most 100 detections of a class in a picture are looked at. Who finds what is ignored is neither right nor wrong:
///
/// - of [`IgnoredAre::Crowds`] as COCO has it: a crowd is found as often as one likes, and it is the part of the
///   detection within it that counts;
/// - of [`IgnoredAre::Difficult`] as Pascal VOC has it: it is found as any other object.
#[derive(Debug, Clone)]
pub struct CocoEvaluation {
    /// By their ids from 1.
    classes: Vec<String>,
    ignored: IgnoredAre,
    judged: Vec<OfClass>,
    pictures: usize,
}

/// What is known of a class.
#[derive(Debug, Clone, Default)]
struct OfClass {
    judged: Vec<Judged>,
    /// Those that are to be found, of each of [`AREAS`].
    objects: [usize; AREAS.len()],
}

impl CocoEvaluation {
    /// Of `classes` of objects, whose ids count from 1; `ignored` says what is ignored in the truth.
    pub fn new(classes: Vec<String>, ignored: IgnoredAre) -> Self {
        let judged = vec![OfClass::default(); classes.len()];
        Self { classes, ignored, judged, pictures: 0 }
    }

    /// Looks at a picture: what is there and what was found, in pixels of the same picture, in any order. What is of
    /// a class that there is not counts as nothing. Of equally sure detections those of the earlier picture come
    /// first, so that pictures have to come in the order of their ids for just what pycocotools says.
    pub fn add(&mut self, truth: &[ObjectTarget], found: &[FoundObject]) {
        self.pictures += 1;
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

    /// How good the detector is on all pictures until now.
    pub fn summary(&self) -> CocoSummary {
        let classes = (1..).zip(&self.classes).zip(self.sorted());
        let classes = classes.map(|((id, name), class)| ClassPrecision::new(id, name, &class)).collect();
        CocoSummary::new(classes, self.pictures)
    }

    /// Of each class that the truth has, its name and the best precision at the recalls 0, 0.01, .. 1, at an
    /// intersection over union of 0.5.
    pub fn curves(&self) -> Vec<(&str, Vec<f64>)> {
        let view = View { area: 0, threshold: 0, most: MOST };
        let classes = self.classes.iter().zip(self.sorted()).filter(|(_, class)| class.objects[0] > 0);
        classes
            .map(|(name, class)| (name.as_str(), precisions(&class.judged, class.objects[0], view)))
            .collect()
    }

    /// Right and wrong detections of each class, of those that score `threshold` at least, at an intersection over
    /// union of 0.5.
    pub fn counts(&self, threshold: f32) -> Vec<ClassCounts> {
        let classes = (1..).zip(&self.classes).zip(&self.judged);
        classes.map(|((id, name), class)| class.counts(id, name, threshold)).collect()
    }

    /// Each class with the surest detections first.
    fn sorted(&self) -> impl Iterator<Item = OfClass> {
        self.judged.iter().map(|class| {
            let mut class = class.clone();
            class.judged.sort_by(|a, b| b.score.total_cmp(&a.score));
            class
        })
    }
}

impl OfClass {
    /// Means over the thresholds in `over`; none where there is no object.
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
