//! The evaluation of a network on all images of a data set.

use lookout_measure::{ClassificationEvaluation, CocoEvaluation, ObjectsReport, Report};
use lookout_model::PreparedNetwork;

use super::{Look, MeasureError, measured_settings, see_classes, see_objects};
use crate::data::DataSet;

/// The result of an evaluation, with the data of each image.
#[derive(Debug)]
pub enum Measured {
    Detector(CocoEvaluation),
    Classifier(ClassificationEvaluation),
}

impl Measured {
    /// Evaluates a network on `set`, whose classes must be the network's ([`DataSet::with_classes`]). A detector uses
    /// the postprocessing settings of [`measured_settings`].
    ///
    /// # Errors
    /// Returns the errors of [`see_objects`], and an error for a TorchScript module.
    pub fn of(network: &PreparedNetwork, set: &DataSet, look: Look) -> Result<Self, MeasureError> {
        let classes = set.classes().names().to_vec();
        match network {
            PreparedNetwork::Detector(network) => {
                let mut evaluation = CocoEvaluation::new(classes, set.ignored_are());
                see_objects(network, set, look, &measured_settings(network), &mut |seen| {
                    evaluation.add(seen.truth, &seen.found);
                })?;
                Ok(Self::Detector(evaluation))
            }
            PreparedNetwork::Classifier(network) => {
                let mut evaluation = ClassificationEvaluation::new(classes);
                see_classes(network, set, look, &mut |seen| evaluation.add(seen.truth, &seen.scores))?;
                Ok(Self::Classifier(evaluation))
            }
            PreparedNetwork::Script(_) => Err(MeasureError::Script),
        }
    }

    pub fn report(&self) -> Report {
        match self {
            Self::Detector(evaluation) => Report::Detector(ObjectsReport::of(evaluation)),
            Self::Classifier(evaluation) => Report::Classifier(evaluation.summary()),
        }
    }
}
