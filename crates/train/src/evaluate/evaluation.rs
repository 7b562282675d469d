//! The evaluation of a network on all images of a data set.

use lookout_measure::{ClassificationEvaluation, CocoEvaluation, ObjectsReport, Report};
use lookout_model::PreparedNetwork;

use super::{
    EvaluationError, EvaluationSettings, evaluation_detection_settings, predict_classes, predict_objects,
};
use crate::data::DataSet;

/// The result of an evaluation, with the data of each image.
#[derive(Debug)]
pub enum Evaluation {
    Detector(CocoEvaluation),
    Classifier(ClassificationEvaluation),
}

impl Evaluation {
    /// Evaluates a network on `set`, whose classes must be the network's ([`DataSet::with_classes`]). A detector uses
    /// the postprocessing settings of [`evaluation_detection_settings`].
    ///
    /// # Errors
    /// Returns the errors of [`predict_objects`], and an error for a TorchScript module.
    pub fn run(
        network: &PreparedNetwork,
        set: &DataSet,
        settings: EvaluationSettings,
    ) -> Result<Self, EvaluationError> {
        let classes = set.classes().names().to_vec();
        match network {
            PreparedNetwork::Detector(network) => {
                let mut evaluation = CocoEvaluation::new(classes, set.ignored_are());
                predict_objects(
                    network,
                    set,
                    settings,
                    &evaluation_detection_settings(network),
                    &mut |prediction| {
                        evaluation.add(prediction.truth, &prediction.found);
                    },
                )?;
                Ok(Self::Detector(evaluation))
            }
            PreparedNetwork::Classifier(network) => {
                let mut evaluation = ClassificationEvaluation::new(classes);
                predict_classes(network, set, settings, &mut |prediction| {
                    evaluation.add(prediction.truth, &prediction.scores);
                })?;
                Ok(Self::Classifier(evaluation))
            }
            PreparedNetwork::Script(_) => Err(EvaluationError::Script),
        }
    }

    pub fn report(&self) -> Report {
        match self {
            Self::Detector(evaluation) => Report::Detector(ObjectsReport::of(evaluation)),
            Self::Classifier(evaluation) => Report::Classifier(evaluation.summary()),
        }
    }
}
