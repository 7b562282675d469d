//! The callbacks of a reader's client.

use std::time::Instant;

use rdkafka::{
    ClientContext, Statistics,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
};

use crate::{client::code, fetching::Fetching};

pub(super) struct ReadContext {
    pub(super) fetching: Fetching,
}

impl ClientContext for ReadContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.fetching.log(level, facility, line);
    }

    fn stats(&self, statistics: Statistics) {
        self.fetching.observe(&statistics, Instant::now());
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // A reader joins no group, so it does not need the right to access one.
        let code = code(&error);
        if code != RDKafkaErrorCode::GroupAuthorizationFailed {
            self.fetching.error(code, reason);
        }
    }
}

impl ConsumerContext for ReadContext {}
