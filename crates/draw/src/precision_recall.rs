//! Plot of the precision-recall curves.

use std::{io, path::Path};

use lookout_draw::{Plot, Series, of_class};

use super::CocoEvaluation;

impl CocoEvaluation {
    /// Plots the precision-recall curve of each class, at an IoU of 0.5, into a PNG.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written.
    pub fn write_png(&self, path: &Path) -> io::Result<()> {
        let curves: Vec<(&str, Vec<(f64, f64)>)> = self
            .curves()
            .into_iter()
            .map(|(name, precisions)| {
                let recall = (0..).map(|step| f64::from(step) * 0.01);
                (name, recall.zip(precisions).collect())
            })
            .collect();
        let series =
            (1..).zip(&curves).map(|(id, (name, points))| Series { name, points, color: of_class(id) });
        let plot = Plot {
            right: "precision over recall".into(),
            x: Some([0.0, 1.0]),
            y: Some([0.0, 1.0]),
            series: series.collect(),
        };
        Plot::all(&[plot]).save(path).map_err(io::Error::other)
    }
}
