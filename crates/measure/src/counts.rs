//! True positives, false positives and false negatives of a class.

use serde::Serialize;

/// The counts of a class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassCounts {
    pub class_id: u32,
    pub name: String,
    /// True positives: detections that match an object, or images that are correctly classified as this class.
    pub right: usize,
    /// False positives: detections that match no object, or one that a detection with a higher score has matched; or
    /// images of other classes that are classified as this class.
    pub wrong: usize,
    /// False negatives: objects without a detection, or images of this class that are classified as another.
    pub missed: usize,
}

impl ClassCounts {
    /// Returns the number of objects or images of the class in the ground truth.
    pub fn support(&self) -> usize {
        self.right + self.missed
    }

    /// Returns the precision, or `None` if nothing was predicted.
    pub fn precision(&self) -> Option<f64> {
        part(self.right, self.right + self.wrong)
    }

    /// Returns the recall, or `None` if the ground truth has nothing of the class.
    pub fn recall(&self) -> Option<f64> {
        part(self.right, self.support())
    }

    /// Returns the F1 score, the harmonic mean of precision and recall, or `None` if both are undefined.
    pub fn f1(&self) -> Option<f64> {
        part(2 * self.right, 2 * self.right + self.wrong + self.missed)
    }
}

/// Returns the fraction `some / all`, or `None` if `all` is 0.
pub(crate) fn part(some: usize, all: usize) -> Option<f64> {
    (all > 0).then(|| some as f64 / all as f64)
}

/// Returns the mean of the values that are not `None`.
pub(crate) fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let known: Vec<f64> = values.flatten().collect();
    (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
}

/// Formats a table with one line per class, with aligned names and metrics in percent.
pub(crate) fn table(counts: &[ClassCounts]) -> String {
    let names = counts.iter().map(|class| class.name.chars().count()).max().unwrap_or(0).max(5);
    let per_cent = |part: Option<f64>| part.map_or("-".into(), |part| format!("{:.1}", 100.0 * part));
    let head =
        format!("{:names$} {:>9} {:>9} {:>9} {:>9}\n", "class", "precision", "recall", "F1", "support");
    let line = |class: &ClassCounts| {
        let [p, r, f] = [class.precision(), class.recall(), class.f1()].map(per_cent);
        format!("{:names$} {p:>9} {r:>9} {f:>9} {:>9}\n", class.name, class.support())
    };
    counts.iter().fold(head, |text, class| text + &line(class))
}
