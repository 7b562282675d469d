//! A network measured on a data set, and a training's judge that does so.

use std::{collections::BTreeMap, error::Error, fmt, sync::Arc};

use lookout_model::{DetectionSettings, PreparedNetwork};
use serde::Serialize;

use super::{
    ClassCounts, ClassificationEvaluation, ClassificationSummary, CocoEvaluation, CocoSummary, Look,
    MeasureError, counts::table, measured_settings, see_classes, see_objects,
};
use crate::{Judge, Judgement, data::DataSet};

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

/// Measures a network on `set`, whose classes have to be the network's ([`DataSet::with_classes`]): a detector as it
/// is read by `settings`, [`measured_settings`] where there are none.
///
/// # Errors
/// Those of [`see_objects`]; a TorchScript module.
pub fn measured(
    network: &PreparedNetwork,
    set: &DataSet,
    look: Look,
    settings: Option<DetectionSettings>,
) -> Result<Report, MeasureError> {
    match network {
        PreparedNetwork::Detector(network) => {
            let settings = settings.unwrap_or_else(|| measured_settings(network));
            let mut evaluation = CocoEvaluation::new(set.classes().clone(), set.ignored_are());
            see_objects(network, set, look, &settings, &mut |seen| {
                evaluation.add(seen.truth, &seen.found);
            })?;
            let (coco, counts) = (evaluation.summary(), evaluation.counts(AT_WORK));
            Ok(Report::Detector(ObjectsReport { coco, score_threshold: AT_WORK, counts }))
        }
        PreparedNetwork::Classifier(network) => {
            let mut evaluation = ClassificationEvaluation::new(set.classes());
            see_classes(network, set, look, &mut |seen| evaluation.add(seen.truth, &seen.scores))?;
            Ok(Report::Classifier(evaluation.summary()))
        }
        PreparedNetwork::Script(_) => Err(MeasureError::Script),
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

    pub fn judgement(&self) -> Judgement {
        Judgement { score: self.score(), metrics: self.metrics() }
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
        for class in &coco.classes {
            let [ap, ap50] = [class.ap, class.ap50].map(per_cent);
            writeln!(f, "{:names$} {ap:>9} {ap50:>9} {:>9}", class.name, class.objects)?;
        }
        write!(f, "\nscores from {score_threshold} on, IoU from 0.5 on\n{}", table(counts))
    }
}

/// Judges networks by a data set.
#[derive(Debug)]
pub struct SetJudge {
    set: Arc<DataSet>,
    look: Look,
    last: Option<Report>,
}

impl SetJudge {
    /// By the pictures of `set`, whose classes have to be the network's ([`DataSet::with_classes`]).
    pub fn new(set: Arc<DataSet>, look: Look) -> Self {
        Self { set, look, last: None }
    }

    /// What was found the last time.
    pub fn last(&self) -> Option<&Report> {
        self.last.as_ref()
    }
}

impl Judge for SetJudge {
    fn judge(&mut self, network: &PreparedNetwork) -> Result<Judgement, Box<dyn Error + Send + Sync>> {
        let report = measured(network, &self.set, self.look, None)?;
        let judgement = report.judgement();
        self.last = Some(report);
        Ok(judgement)
    }
}
