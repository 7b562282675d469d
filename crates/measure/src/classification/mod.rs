//! Metrics of image classifiers.

mod confusion;

use std::fmt;

use serde::Serialize;

pub use self::confusion::Confusion;
use crate::counts::{ClassCounts, mean, part, table};

/// The k of the top-k accuracy.
const TOP: usize = 5;

/// Evaluates a classifier image by image.
#[derive(Debug, Clone)]
pub struct ClassificationEvaluation {
    confusion: Confusion,
    among_top: usize,
}

/// The metrics of a classifier, each 0 to 1, or `None` if undefined.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassificationSummary {
    pub pictures: usize,
    /// Fraction of the images whose class has the highest score.
    pub top1: Option<f64>,
    /// Fraction of the images whose class is among the five highest scores; `None` if there are no more than five
    /// classes.
    pub top5: Option<f64>,
    /// Balanced accuracy: the mean recall of the classes in the ground truth.
    pub balanced: Option<f64>,
    /// Mean F1 score of the classes.
    pub f1: Option<f64>,
    pub classes: Vec<ClassCounts>,
    pub confusion: Confusion,
}

impl ClassificationEvaluation {
    /// Creates an evaluation for `classes`, whose ids start at 0.
    pub fn new(classes: Vec<String>) -> Self {
        Self { confusion: Confusion::new(classes), among_top: 0 }
    }

    /// Adds an image of the class `truth`, from 0, with the score of each class. For equal scores, the lower id
    /// ranks first. An image of an unknown class is skipped.
    pub fn add(&mut self, truth: u32, scores: &[f32]) {
        let truth = truth as usize;
        let Some(own) = scores.get(truth).filter(|_| truth < self.confusion.names().len()) else { return };
        let surer = |(class, score): (usize, &f32)| match score.total_cmp(own) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Equal => class < truth,
            std::cmp::Ordering::Less => false,
        };
        let before = scores.iter().enumerate().filter(|score| surer(*score)).count();
        self.among_top += usize::from(before < TOP);
        let best = scores.iter().enumerate().rev().max_by(|a, b| a.1.total_cmp(b.1));
        if let Some((predicted, _)) = best {
            self.confusion.add(truth, predicted);
        }
    }

    /// Returns the metrics of all images added so far.
    pub fn summary(&self) -> ClassificationSummary {
        let confusion = self.confusion.clone();
        let classes: Vec<ClassCounts> =
            (0..confusion.names().len()).map(|class| confusion.counts(class)).collect();
        let pictures = classes.iter().map(ClassCounts::support).sum();
        let right = classes.iter().map(|class| class.right).sum();
        ClassificationSummary {
            pictures,
            top1: part(right, pictures),
            top5: part(self.among_top, pictures).filter(|_| classes.len() > TOP),
            balanced: mean(classes.iter().map(ClassCounts::recall)),
            f1: mean(classes.iter().map(ClassCounts::f1)),
            classes,
            confusion,
        }
    }
}

impl ClassificationSummary {
    /// Returns the overall metrics with short names.
    pub fn numbers(&self) -> [(&'static str, Option<f64>); 4] {
        [("top1", self.top1), ("top5", self.top5), ("balanced", self.balanced), ("F1", self.f1)]
    }
}

/// Formats the metrics, the table of the classes and the confusion matrix.
impl fmt::Display for ClassificationSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} images", self.pictures)?;
        for (name, number) in self.numbers() {
            if let Some(number) = number {
                write!(f, ", {name} {number:.4}")?;
            }
        }
        write!(f, "\n\n{}\n{}", table(&self.classes), self.confusion)
    }
}

#[cfg(test)]
mod tests;
