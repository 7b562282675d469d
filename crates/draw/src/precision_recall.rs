//! Plot of precision-recall curves.

use image::RgbImage;

use crate::{
    color::of_class,
    plot::{Plot, Series},
};

/// Plots one precision-recall curve per class. A curve has its class's name and the precision at equidistant recalls
/// from 0 to 1. The colors are those of the class ids, which start at 1.
pub fn precision_recall(curves: &[(&str, Vec<f64>)]) -> RgbImage {
    let points: Vec<Vec<(f64, f64)>> = curves
        .iter()
        .map(|(_, precisions)| {
            let last = precisions.len().saturating_sub(1).max(1) as f64;
            (0..).map(|step| f64::from(step) / last).zip(precisions.iter().copied()).collect()
        })
        .collect();
    let series = (1..).zip(curves.iter().zip(&points)).map(|(id, ((name, _), points))| Series {
        name,
        points,
        color: of_class(id),
    });
    let plot = Plot {
        right: "precision over recall".into(),
        x: Some([0.0, 1.0]),
        y: Some([0.0, 1.0]),
        series: series.collect(),
    };
    Plot::all(&[plot])
}
