//! Callbacks for librdkafka's log lines and errors, for clients without a delivery callback.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::{
    ClientContext, Statistics,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{DeliveryResult, ProducerContext},
};

use crate::client::{Redactor, code};

/// Forwards one of librdkafka's log lines to `tracing`.
pub(crate) fn log(redactor: &Redactor, level: RDKafkaLogLevel, facility: &str, line: &str) {
    use RDKafkaLogLevel::{Alert, Critical, Debug, Emerg, Error, Info, Notice, Warning};
    let line = redactor.redact(line);
    match (level, facility) {
        // Lost connections and the end of a client are also reported as errors, each of which is logged once. A
        // warning that the producer ignores a consumer setting is not a fault, because one file configures both.
        (_, "FAIL" | "FATAL" | "ERROR" | "CONFWARN" | "TERMINATE") | (Notice | Info, _) => {
            tracing::debug!(facility, "{line}");
        }
        (Emerg | Alert | Critical | Error, _) => tracing::error!(facility, "{line}"),
        (Warning, _) => tracing::warn!(facility, "{line}"),
        (Debug, _) => tracing::trace!(facility, "{line}"),
    }
}

/// Returns librdkafka's reason when the broker closed a connection before it answered a request. librdkafka only logs
/// this and reports no error, because brokers also close idle connections.
pub(crate) fn hang_up<'a>(facility: &str, line: &'a str) -> Option<&'a str> {
    let is_early =
        ["APIVERSION_QUERY", "AUTH_"].iter().any(|state| line.contains(&format!("in state {state}")));
    let message = line.split_once("]: ").map_or(line, |(_, message)| message);
    (facility == "FAIL" && is_early && line.contains("closed by peer")).then_some(message)
}

/// Errors that a client reported in the background, the oldest first, each code once.
pub(crate) type Reported = Arc<Mutex<Vec<(RDKafkaErrorCode, String)>>>;

/// Collects the errors of a client for the caller that waits for it.
#[derive(Clone, Default)]
pub(crate) struct QuietContext {
    redactor: Redactor,
    reported: Reported,
}

impl QuietContext {
    pub(crate) fn new(redactor: Redactor) -> Self {
        Self { redactor, reported: Reported::default() }
    }

    pub(crate) fn reported(&self) -> Vec<(RDKafkaErrorCode, String)> {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, code: RDKafkaErrorCode, reason: &str) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.iter().all(|(seen, _)| *seen != code) {
            reported.push((code, self.redactor.redact(reason)));
        }
    }
}

impl ClientContext for QuietContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log(&self.redactor, level, facility, line);
        if let Some(reason) = hang_up(facility, line) {
            self.note(RDKafkaErrorCode::BrokerTransportFailure, reason);
        }
    }

    fn stats(&self, _: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.note(code(&error), reason);
    }
}

impl ConsumerContext for QuietContext {}

impl ProducerContext for QuietContext {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_only_connections_that_are_closed_before_the_first_response() {
        let early = "127.0.0.1:1/bootstrap: Disconnected: connection closed by peer: receive 0 after POLLIN (after 1ms in \
                     state APIVERSION_QUERY)";
        let line = format!("[thrd:127.0.0.1:1/bootstrap]: {early}");
        assert_eq!(hang_up("FAIL", &line), Some(early));
        assert_eq!(hang_up("STATE", &line), None);
        assert_eq!(hang_up("FAIL", &line.replace("APIVERSION_QUERY", "UP")), None);
    }
}
