//! Confusion matrix.

use std::fmt;

use serde::Serialize;

use crate::counts::ClassCounts;

/// Number of images for each pair of true and predicted class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Confusion {
    names: Vec<String>,
    /// One row per true class, with one count per predicted class.
    rows: Vec<Vec<usize>>,
}

impl Confusion {
    pub(super) fn new(names: Vec<String>) -> Self {
        let rows = vec![vec![0; names.len()]; names.len()];
        Self { names, rows }
    }

    pub(super) fn add(&mut self, truth: usize, predicted: usize) {
        if let Some(count) = self.rows.get_mut(truth).and_then(|row| row.get_mut(predicted)) {
            *count += 1;
        }
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns one row per true class, with one count per predicted class.
    pub fn rows(&self) -> &[Vec<usize>] {
        &self.rows
    }

    pub(super) fn counts(&self, class: usize) -> ClassCounts {
        let right = self.rows[class][class];
        let predicted: usize = self.rows.iter().map(|row| row[class]).sum();
        let there: usize = self.rows[class].iter().sum();
        ClassCounts {
            class_id: u32::try_from(class).unwrap_or(u32::MAX),
            name: self.names[class].clone(),
            right,
            wrong: predicted - right,
            missed: there - right,
        }
    }
}

/// The heading of the column of class names.
const CORNER: &str = "true \\ predicted";

/// Formats one line per true class and one column per predicted class, by its number. Zeros are shown as `.`.
impl fmt::Display for Confusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = |number: usize| number.to_string().len();
        let most = self.rows.iter().flatten().copied().max().unwrap_or(0);
        let last = self.names.len().saturating_sub(1);
        let column = digits(most).max(digits(last)) + 1;
        let number = digits(last);
        let name = self.names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(CORNER.len());
        write!(f, "{:number$} {:name$}", "", CORNER)?;
        for predicted in 0..self.names.len() {
            write!(f, "{predicted:>column$}")?;
        }
        writeln!(f)?;
        for (at, (class, row)) in self.names.iter().zip(&self.rows).enumerate() {
            write!(f, "{at:>number$} {class:name$}")?;
            for count in row {
                match count {
                    0 => write!(f, "{:>column$}", ".")?,
                    _ => write!(f, "{count:>column$}")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
