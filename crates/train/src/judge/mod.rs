//! A network measured on a data set, and a training's judge that does so.

mod error;
mod look;
mod seen;

use std::{error::Error, sync::Arc};

use lookout_measure::{ClassificationEvaluation, CocoEvaluation, ObjectsReport, Report};
use lookout_model::{DetectionSettings, PreparedNetwork};

pub use self::{
    error::MeasureError,
    look::Look,
    seen::{SeenClasses, SeenObjects, measured_settings, see_classes, see_objects},
};
use crate::{Judge, Judgement, data::DataSet};

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
            let mut evaluation = CocoEvaluation::new(set.classes().names().to_vec(), set.ignored_are());
            see_objects(network, set, look, &settings, &mut |seen| {
                evaluation.add(seen.truth, &seen.found);
            })?;
            Ok(Report::Detector(ObjectsReport::of(&evaluation)))
        }
        PreparedNetwork::Classifier(network) => {
            let mut evaluation = ClassificationEvaluation::new(set.classes().names().to_vec());
            see_classes(network, set, look, &mut |seen| evaluation.add(seen.truth, &seen.scores))?;
            Ok(Report::Classifier(evaluation.summary()))
        }
        PreparedNetwork::Script(_) => Err(MeasureError::Script),
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
        let judgement = Judgement { score: report.score(), metrics: report.metrics() };
        self.last = Some(report);
        Ok(judgement)
    }
}
