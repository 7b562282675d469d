//! Reports of evaluations, for detectors and classifiers.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::{ClassCounts, ClassificationSummary, CocoEvaluation, CocoSummary, counts::table};

/// The score threshold for counting a detector's true and false positives, which is its default for inference.
const AT_WORK: f32 = 0.5;

/// The metrics of a network.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Report {
    Detector(ObjectsReport),
    Classifier(ClassificationSummary),
}

/// The metrics of a detector.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ObjectsReport {
    pub coco: CocoSummary,
    /// The score threshold of `counts`.
    pub score_threshold: f32,
    pub counts: Vec<ClassCounts>,
}

impl ObjectsReport {
    /// Returns the report of `evaluation`, with counts at the default score threshold.
    pub fn of(evaluation: &CocoEvaluation) -> Self {
        let (coco, counts) = (evaluation.summary(), evaluation.counts(AT_WORK));
        Self { coco, score_threshold: AT_WORK, counts }
    }
}

impl Report {
    /// Returns the metric by which networks are compared: the AP of a detector, the top-1 accuracy of a classifier, or
    /// 0 if the ground truth is empty.
    pub fn score(&self) -> f64 {
        match self {
            Self::Detector(report) => report.coco.ap,
            Self::Classifier(summary) => summary.top1,
        }
        .unwrap_or(0.0)
    }

    /// Returns all metrics by name, such as `AP`, `AP50`, `AP/person` or `top1`, `F1/cat`, each 0 to 1. Undefined ones
    /// are omitted.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let mut metrics = BTreeMap::new();
        let mut add = |name: String, number: Option<f64>| {
            if let Some(number) = number {
                metrics.insert(name, number);
            }
        };
        match self {
            Self::Detector(report) => {
                report.coco.numbers().into_iter().for_each(|(name, number)| add(name.to_owned(), number));
                for class in &report.coco.classes {
                    add(format!("AP/{}", class.name), class.ap);
                    add(format!("AP50/{}", class.name), class.ap50);
                }
                report.counts.iter().for_each(|class| add(format!("F1/{}", class.name), class.f1()));
            }
            Self::Classifier(summary) => {
                summary.numbers().into_iter().for_each(|(name, number)| add(name.to_owned(), number));
                for class in &summary.classes {
                    add(format!("recall/{}", class.name), class.recall());
                    add(format!("F1/{}", class.name), class.f1());
                }
            }
        }
        metrics
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Detector(report) => report.fmt(f),
            Self::Classifier(summary) => summary.fmt(f),
        }
    }
}

impl fmt::Display for ObjectsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { coco, score_threshold, counts } = self;
        let names = coco.classes.iter().map(|class| class.name.chars().count()).max().unwrap_or(0).max(5);
        let per_cent = |part: Option<f64>| part.map_or("-".into(), |part| format!("{:.1}", 100.0 * part));
        writeln!(f, "{} images\n{coco}", coco.pictures)?;
        writeln!(f, "{:names$} {:>9} {:>9} {:>9}", "class", "AP", "AP50", "objects")?;
        for class in coco.classes.iter().filter(|class| class.objects > 0) {
            let [ap, ap50] = [class.ap, class.ap50].map(per_cent);
            writeln!(f, "{:names$} {ap:>9} {ap50:>9} {:>9}", class.name, class.objects)?;
        }
        // Omits classes that appear neither in the ground truth nor among the detections.
        let listed: Vec<ClassCounts> =
            counts.iter().filter(|class| class.support() + class.wrong > 0).cloned().collect();
        write!(f, "\nscore threshold {score_threshold}, IoU threshold 0.5\n{}", table(&listed))
    }
}
