//! A detector as it is used: with one threshold for its scores.

use serde::Serialize;

use super::{OfClass, curve::View, matching::MOST};

/// Right and wrong detections of a class at one threshold of scores, at an intersection over union of 0.5.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassCounts {
    pub class_id: u32,
    pub name: String,
    /// Detections that found an object.
    pub right: usize,
    /// Detections that found none, or one that a surer one had found.
    pub wrong: usize,
    /// Objects that none found.
    pub missed: usize,
}

impl ClassCounts {
    pub(super) fn new(class_id: u32, name: &str, class: &OfClass, threshold: f32) -> Self {
        let view = View { area: 0, threshold: 0, most: MOST };
        let sure = || class.judged.iter().filter(|judged| judged.score >= threshold);
        let count = |is_right| sure().filter(|judged| view.is_right(judged) == Some(is_right)).count();
        let (right, wrong) = (count(true), count(false));
        let missed = class.objects[0] - right;
        Self { class_id, name: name.to_owned(), right, wrong, missed }
    }

    /// Of the detections, the part that is right; none where there is no detection.
    pub fn precision(&self) -> Option<f64> {
        part(self.right, self.right + self.wrong)
    }

    /// Of the objects, the part that is found; none where there is no object.
    pub fn recall(&self) -> Option<f64> {
        part(self.right, self.right + self.missed)
    }

    /// The harmonic mean of the two; none where there is neither an object nor a detection.
    pub fn f1(&self) -> Option<f64> {
        part(2 * self.right, 2 * self.right + self.wrong + self.missed)
    }
}

/// `some` of `all`.
pub(in crate::measure) fn part(some: usize, all: usize) -> Option<f64> {
    (all > 0).then(|| some as f64 / all as f64)
}
