//! Right, wrong and missed, of a class.

use serde::Serialize;

/// How often a class was said rightly, wrongly, and not at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassCounts {
    pub class_id: u32,
    pub name: String,
    /// A detection that found an object; a picture that is of the class as it was said.
    pub right: usize,
    /// A detection that found none, or one that a surer one had found; a picture that is of another class.
    pub wrong: usize,
    /// An object that no detection found; a picture of the class that was said to be of another.
    pub missed: usize,
}

impl ClassCounts {
    /// How many there are to be found.
    pub fn support(&self) -> usize {
        self.right + self.missed
    }

    /// Of what was said, the part that is right; none where nothing was said.
    pub fn precision(&self) -> Option<f64> {
        part(self.right, self.right + self.wrong)
    }

    /// Of what is there, the part that was found; none where there is nothing.
    pub fn recall(&self) -> Option<f64> {
        part(self.right, self.support())
    }

    /// The harmonic mean of the two; none where there is nothing and nothing was said.
    pub fn f1(&self) -> Option<f64> {
        part(2 * self.right, 2 * self.right + self.wrong + self.missed)
    }
}

/// `some` of `all`.
pub(crate) fn part(some: usize, all: usize) -> Option<f64> {
    (all > 0).then(|| some as f64 / all as f64)
}

/// The mean of those that are known.
pub(crate) fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let known: Vec<f64> = values.flatten().collect();
    (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
}

/// A table of classes: a line each, names aligned, numbers in per cent.
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
