//! A network held against all of a data set.

use lookout_measure::{ClassificationEvaluation, CocoEvaluation, ObjectsReport, Report};
use lookout_model::PreparedNetwork;

use super::{Look, MeasureError, measured_settings, see_classes, see_objects};
use crate::data::DataSet;

/// What came of it, picture by picture.
#[derive(Debug)]
pub enum Measured {
    Detector(CocoEvaluation),
    Classifier(ClassificationEvaluation),
}

impl Measured {
    /// Measures a network on `set`, whose classes have to be the network's ([`DataSet::with_classes`]): a detector as
    /// it is read by [`measured_settings`].
    ///
    /// # Errors
    /// Those of [`see_objects`]; a TorchScript module.
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
