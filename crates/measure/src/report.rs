//! How good a network is, whatever it is.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::{ClassCounts, ClassificationSummary, CocoEvaluation, CocoSummary, counts::table};

/// What a detector's score has to be at work, where nothing else is said.
const AT_WORK: f32 = 0.5;

/// How good a network is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Report {
    Detector(ObjectsReport),
    Classifier(ClassificationSummary),
}

/// How good a detector is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ObjectsReport {
    pub coco: CocoSummary,
    /// Which score `counts` are at.
    pub score_threshold: f32,
    pub counts: Vec<ClassCounts>,
}

impl ObjectsReport {
    /// Of what `evaluation` was told, counted as at work.
    pub fn of(evaluation: &CocoEvaluation) -> Self {
        let (coco, counts) = (evaluation.summary(), evaluation.counts(AT_WORK));
        Self { coco, score_threshold: AT_WORK, counts }
    }
}

impl Report {
    /// The one number that networks are chosen by: a detector's AP, a classifier's top-1; 0 where there is nothing to
    /// be found.
    pub fn score(&self) -> f64 {
        match self {
            Self::Detector(report) => report.coco.ap,
            Self::Classifier(summary) => summary.top1,
        }
        .unwrap_or(0.0)
    }

    /// All numbers by their names, `AP`, `AP50`, `AP/person` or `top1`, `F1/cat`, each 0 to 1; what there is nothing to
    /// take of is left out.
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
        writeln!(f, "{} pictures\n{coco}", coco.pictures)?;
        writeln!(f, "{:names$} {:>9} {:>9} {:>9}", "class", "AP", "AP50", "objects")?;
        for class in coco.classes.iter().filter(|class| class.objects > 0) {
            let [ap, ap50] = [class.ap, class.ap50].map(per_cent);
            writeln!(f, "{:names$} {ap:>9} {ap50:>9} {:>9}", class.name, class.objects)?;
        }
        // A network may know much that is not there.
        let told: Vec<ClassCounts> =
            counts.iter().filter(|class| class.support() + class.wrong > 0).cloned().collect();
        write!(f, "\nscores from {score_threshold} on, IoU from 0.5 on\n{}", table(&told))
    }
}
