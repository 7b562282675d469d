//! librdkafka's log lines and errors, for clients without a delivery callback.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::{
    ClientContext, Statistics,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{DeliveryResult, ProducerContext},
};

use crate::client::{Redactor, code};

/// Passes one of librdkafka's log lines on.
pub(crate) fn log(redactor: &Redactor, level: RDKafkaLogLevel, facility: &str, line: &str) {
    use RDKafkaLogLevel::{Alert, Critical, Debug, Emerg, Error, Info, Notice, Warning};
    let line = redactor.redact(line);
    match (level, facility) {
        // Lost connections, and a client's end, come again as errors, of which each is told once; a setting
        // for consumers that a producer does not heed is no fault of a file that serves both.
        (_, "FAIL" | "FATAL" | "ERROR" | "CONFWARN" | "TERMINATE") | (Notice | Info, _) => {
            tracing::debug!(facility, "{line}");
        }
        (Emerg | Alert | Critical | Error, _) => tracing::error!(facility, "{line}"),
        (Warning, _) => tracing::warn!(facility, "{line}"),
        (Debug, _) => tracing::trace!(facility, "{line}"),
    }
}

/// Errors that a client reported in the background, oldest first, each code once.
pub(crate) type Reported = Arc<Mutex<Vec<(RDKafkaErrorCode, String)>>>;

/// Collects a client's errors for the one who waits for it.
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
}

impl ClientContext for QuietContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log(&self.redactor, level, facility, line);
    }

    fn stats(&self, _: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        let code = code(&error);
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.iter().all(|(seen, _)| *seen != code) {
            reported.push((code, self.redactor.redact(reason)));
        }
    }
}

impl ConsumerContext for QuietContext {}

impl ProducerContext for QuietContext {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}
