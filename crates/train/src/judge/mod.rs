//! Evaluation of networks on a data set, also during training. In the code the evaluator is a `Judge`.

mod error;
mod look;
mod measured;
mod seen;

use std::{error::Error, sync::Arc};

use lookout_measure::Report;
use lookout_model::PreparedNetwork;

pub use self::{
    error::MeasureError,
    look::Look,
    measured::Measured,
    seen::{SeenClasses, SeenObjects, measured_settings, see_classes, see_objects},
};
use crate::{Judge, Judgment, data::DataSet};

/// An evaluator that measures networks on a data set.
#[derive(Debug)]
pub struct SetJudge {
    set: Arc<DataSet>,
    look: Look,
    last: Option<Report>,
}

impl SetJudge {
    /// Creates an evaluator for `set`, whose classes must be the network's ([`DataSet::with_classes`]).
    pub fn new(set: Arc<DataSet>, look: Look) -> Self {
        Self { set, look, last: None }
    }

    /// Returns the report of the last evaluation.
    pub fn last(&self) -> Option<&Report> {
        self.last.as_ref()
    }
}

impl Judge for SetJudge {
    fn judge(&mut self, network: &PreparedNetwork) -> Result<Judgment, Box<dyn Error + Send + Sync>> {
        let report = Measured::of(network, &self.set, self.look)?.report();
        let judgment = Judgment { score: report.score(), metrics: report.metrics() };
        self.last = Some(report);
        Ok(judgment)
    }
}
