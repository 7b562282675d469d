//! A problem with a connection or a topic.

/// A problem, with advice on how to solve it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerProblem {
    /// What is wrong, as a clause without a final period.
    pub what: String,
    /// What to do, as a clause without a final period.
    pub advice: String,
}

impl BrokerProblem {
    pub(crate) fn new(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what: what.into(), advice: advice.into() }
    }
}
