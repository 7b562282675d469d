//! The summary of a COCO evaluation.

use std::fmt;

use serde::Serialize;

use super::{
    OfClass,
    matching::{MOST, THRESHOLDS},
};
use crate::counts::mean;

/// The twelve metrics of COCO's table, 0 to 1, or `None` where the ground truth has no such object. They are means over
/// the classes in the ground truth.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CocoSummary {
    /// Average precision, as the mean over the IoU thresholds 0.50, 0.55, .. 0.95.
    pub ap: Option<f64>,
    pub ap50: Option<f64>,
    pub ap75: Option<f64>,
    /// For objects up to 32x32 pixels.
    pub ap_small: Option<f64>,
    /// For objects between 32x32 and 96x96 pixels.
    pub ap_medium: Option<f64>,
    pub ap_large: Option<f64>,
    /// Average recall with at most one detection per class and image, as the mean over the same IoU thresholds.
    pub ar1: Option<f64>,
    pub ar10: Option<f64>,
    pub ar100: Option<f64>,
    pub ar_small: Option<f64>,
    pub ar_medium: Option<f64>,
    pub ar_large: Option<f64>,
    pub pictures: usize,
    pub classes: Vec<ClassPrecision>,
}

/// The average precision of a class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassPrecision {
    pub class_id: u32,
    pub name: String,
    /// Number of objects that are not ignored.
    pub objects: usize,
    pub ap: Option<f64>,
    pub ap50: Option<f64>,
    /// All twelve metrics, in the order of COCO's table.
    #[serde(skip)]
    row: [Option<f64>; 12],
}

impl ClassPrecision {
    pub(super) fn new(class_id: u32, name: &str, class: &OfClass) -> Self {
        let [half, three_quarters] = [0, 5];
        let all = 0..THRESHOLDS.len();
        let precision = |area| class.precision(area, all.clone());
        let at = |threshold: usize| class.precision(0, threshold..threshold + 1);
        let row = [
            precision(0),
            at(half),
            at(three_quarters),
            precision(1),
            precision(2),
            precision(3),
            class.recall(0, 1),
            class.recall(0, 10),
            class.recall(0, MOST),
            class.recall(1, MOST),
            class.recall(2, MOST),
            class.recall(3, MOST),
        ];
        Self { class_id, name: name.to_owned(), objects: class.objects[0], ap: row[0], ap50: row[1], row }
    }
}

impl CocoSummary {
    pub(super) fn new(classes: Vec<ClassPrecision>, pictures: usize) -> Self {
        let mean = |at: usize| mean(classes.iter().map(|class| class.row[at]));
        Self {
            ap: mean(0),
            ap50: mean(1),
            ap75: mean(2),
            ap_small: mean(3),
            ap_medium: mean(4),
            ap_large: mean(5),
            ar1: mean(6),
            ar10: mean(7),
            ar100: mean(8),
            ar_small: mean(9),
            ar_medium: mean(10),
            ar_large: mean(11),
            pictures,
            classes,
        }
    }

    /// Returns the twelve metrics in pycocotools' order, with short names.
    pub fn numbers(&self) -> [(&'static str, Option<f64>); 12] {
        [
            ("AP", self.ap),
            ("AP50", self.ap50),
            ("AP75", self.ap75),
            ("AP_small", self.ap_small),
            ("AP_medium", self.ap_medium),
            ("AP_large", self.ap_large),
            ("AR1", self.ar1),
            ("AR10", self.ar10),
            ("AR100", self.ar100),
            ("AR_small", self.ar_small),
            ("AR_medium", self.ar_medium),
            ("AR_large", self.ar_large),
        ]
    }
}

/// Formats the table as pycocotools prints it, with -1 for metrics without objects.
impl fmt::Display for CocoSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ROWS: [(&str, &str, usize); 12] = [
            ("0.50:0.95", "all", 100),
            ("0.50", "all", 100),
            ("0.75", "all", 100),
            ("0.50:0.95", "small", 100),
            ("0.50:0.95", "medium", 100),
            ("0.50:0.95", "large", 100),
            ("0.50:0.95", "all", 1),
            ("0.50:0.95", "all", 10),
            ("0.50:0.95", "all", 100),
            ("0.50:0.95", "small", 100),
            ("0.50:0.95", "medium", 100),
            ("0.50:0.95", "large", 100),
        ];
        for (row, (name, number)) in self.numbers().into_iter().enumerate() {
            let (iou, area, most) = ROWS[row];
            let title =
                if name.starts_with("AP") { "Average Precision  (AP)" } else { "Average Recall     (AR)" };
            let number = number.unwrap_or(-1.0);
            writeln!(f, " {title} @[ IoU={iou:<9} | area={area:>6} | maxDets={most:>3} ] = {number:.3}")?;
        }
        Ok(())
    }
}
