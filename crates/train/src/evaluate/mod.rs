//! Evaluation of networks on a data set, also during training.

mod batches;
mod error;
mod evaluation;
mod predictions;

use std::{error::Error, sync::Arc};

use lookout_measure::Report;
use lookout_model::PreparedNetwork;

pub use self::{
    batches::EvaluationSettings,
    error::EvaluationError,
    evaluation::Evaluation,
    predictions::{
        ClassifierPrediction, DetectorPrediction, evaluation_detection_settings, predict_classes,
        predict_objects,
    },
};
use crate::{EvaluationResult, Evaluator, data::DataSet};

/// An evaluator that measures networks on a data set.
#[derive(Debug)]
pub struct DataSetEvaluator {
    set: Arc<DataSet>,
    settings: EvaluationSettings,
    last: Option<Report>,
}

impl DataSetEvaluator {
    /// Creates an evaluator for `set`, whose classes must be the network's ([`DataSet::with_classes`]).
    pub fn new(set: Arc<DataSet>, settings: EvaluationSettings) -> Self {
        Self { set, settings, last: None }
    }

    /// Returns the report of the last evaluation.
    pub fn last(&self) -> Option<&Report> {
        self.last.as_ref()
    }
}

impl Evaluator for DataSetEvaluator {
    fn evaluate(
        &mut self,
        network: &PreparedNetwork,
    ) -> Result<EvaluationResult, Box<dyn Error + Send + Sync>> {
        let report = Evaluation::run(network, &self.set, self.settings)?.report();
        let result = EvaluationResult { score: report.score(), metrics: report.metrics() };
        self.last = Some(report);
        Ok(result)
    }
}
