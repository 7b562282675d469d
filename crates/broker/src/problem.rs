//! A problem with a connection or a topic.

/// A problem, with advice on how to solve it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerProblem {
    pub what: String,
    pub advice: String,
}

impl BrokerProblem {
    pub(crate) fn new(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what: what.into(), advice: advice.into() }
    }
}
