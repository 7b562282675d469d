//! How well whole pictures are told apart.

mod confusion;
mod picture;

use std::fmt;

use serde::Serialize;

pub use self::confusion::Confusion;
use crate::counts::{ClassCounts, mean, part, table};

/// Up to so many classes to a picture, its own is said to be among the first.
const TOP: usize = 5;

/// Looks at pictures one by one and says at last how good a classifier is.
#[derive(Debug, Clone)]
pub struct ClassificationEvaluation {
    confusion: Confusion,
    among_top: usize,
}

/// How good a classifier is; each number 0 to 1, none where there is nothing to take it of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassificationSummary {
    pub pictures: usize,
    /// The part of the pictures whose class scores most.
    pub top1: Option<f64>,
    /// Whose class is among the five that score most; none where there are no more than five.
    pub top5: Option<f64>,
    /// The mean of the recalls of the classes that there are: each counts the same, however rare it is.
    pub balanced: Option<f64>,
    /// The mean of the classes' F1.
    pub f1: Option<f64>,
    pub classes: Vec<ClassCounts>,
    pub confusion: Confusion,
}

impl ClassificationEvaluation {
    /// Of `classes` of pictures, counted from 0.
    pub fn new(classes: Vec<String>) -> Self {
        Self { confusion: Confusion::new(classes), among_top: 0 }
    }

    /// Looks at a picture of the class `truth`, from 0, and the scores of each class, more being surer; of equal
    /// scores the lower class counts as the surer. A class that there is not counts as nothing.
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
        if let Some((said, _)) = best {
            self.confusion.add(truth, said);
        }
    }

    /// How good the classifier is on all pictures until now.
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
    /// Its numbers with short names.
    pub fn numbers(&self) -> [(&'static str, Option<f64>); 4] {
        [("top1", self.top1), ("top5", self.top5), ("balanced", self.balanced), ("F1", self.f1)]
    }
}

/// The numbers, the classes' table and the confusion matrix.
impl fmt::Display for ClassificationSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pictures", self.pictures)?;
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
