//! The state of a producer's connection as librdkafka reports it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use lookout_config::KafkaSettings;
use rdkafka::{Statistics, error::RDKafkaErrorCode};

use crate::{
    BrokerProblem,
    advice::{Security, explain, explain_slowly, is_untrusted},
    client::{Redactor, known_brokers},
};

/// A camera counts as held up when its oldest record has waited this long for the broker.
pub(crate) const HELD_UP_AFTER: Duration = Duration::from_secs(5);

/// The connection state, which the client's callbacks share.
pub(crate) struct ConnectionState {
    redactor: Redactor,
    security: Security,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    connected: bool,
    /// `host:port` of each broker.
    brokers: Vec<String>,
    last_error: Option<(RDKafkaErrorCode, String)>,
    /// Whether a thread currently fetches an untrusted certificate.
    inspecting: bool,
}

impl ConnectionState {
    pub(crate) fn new(settings: &KafkaSettings) -> Self {
        Self { redactor: Redactor::new(settings), security: Security::of(settings), seen: Arc::default() }
    }

    pub(crate) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    pub(crate) fn connected(&self) -> bool {
        self.seen().connected
    }

    /// Returns `host:port` of the brokers that the client knows.
    pub(crate) fn brokers(&self) -> Vec<String> {
        self.seen().brokers.clone()
    }

    pub(crate) fn last_error(&self) -> Option<String> {
        self.seen().last_error.as_ref().map(|(_, reason)| reason.clone())
    }

    /// Updates the state from librdkafka's statistics, and logs a change of connectivity.
    pub(crate) fn observe(&self, statistics: &Statistics) {
        let connected = statistics.brokers.values().any(|broker| broker.state == "UP");
        let mut seen = self.seen();
        seen.brokers = known_brokers(statistics);
        if connected == seen.connected {
            return;
        }
        seen.connected = connected;
        if connected {
            seen.last_error = None;
            tracing::info!("connected to kafka");
        } else {
            let error = seen.last_error.as_ref().map(|(_, reason)| reason.as_str());
            tracing::warn!(error, "kafka cannot be reached, records wait");
        }
    }

    /// Stores an error, and logs it if its code differs from the last one. librdkafka reports the same error for each
    /// attempt to connect.
    pub(crate) fn error(&self, code: RDKafkaErrorCode, reason: &str) {
        let reason = self.redactor.redact(reason);
        let mut seen = self.seen();
        let last = seen.last_error.as_ref().map(|(code, _)| *code);
        if code == RDKafkaErrorCode::AllBrokersDown {
            seen.connected = false;
            // The previous error has the reason.
            if last.is_some() {
                return;
            }
        }
        // A rejected login at one broker is more informative than another broker that is down.
        if last == Some(RDKafkaErrorCode::Authentication) && code == RDKafkaErrorCode::BrokerTransportFailure
        {
            return;
        }
        if last == Some(code) && code == RDKafkaErrorCode::SSL {
            return;
        }
        if last != Some(code) && is_untrusted(code, &reason) {
            return self.inspect_certificate(&mut seen, code, reason);
        }
        let problem = explain(code, &reason, &self.security);
        if last != Some(code) {
            log_problem(code, &problem);
        }
        seen.last_error = Some((code, in_words(&problem)));
    }

    /// Fetches the certificate on a separate thread, because librdkafka's callbacks must not block.
    fn inspect_certificate(&self, seen: &mut Seen, code: RDKafkaErrorCode, reason: String) {
        seen.last_error = Some((code, in_words(&explain(code, &reason, &self.security))));
        if seen.inspecting {
            return;
        }
        seen.inspecting = true;
        let (security, shared) = (self.security.clone(), Arc::clone(&self.seen));
        let inspect = move || {
            let problem = explain_slowly(code, &reason, &security);
            let mut seen = lock(&shared);
            seen.inspecting = false;
            log_problem(code, &problem);
            if let Some((last, words)) = &mut seen.last_error
                && *last == code
            {
                *words = in_words(&problem);
            }
        };
        if let Err(error) = thread::Builder::new().name("kafka-certificate".into()).spawn(inspect) {
            seen.inspecting = false;
            let reason = seen.last_error.as_ref().map(|(_, words)| words.as_str());
            tracing::warn!(%error, reason, "the kafka client reports an error");
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }
}

fn log_problem(code: RDKafkaErrorCode, problem: &BrokerProblem) {
    tracing::warn!(
        ?code,
        reason = problem.what,
        advice = problem.advice,
        "the kafka client reports an error"
    );
}

fn in_words(problem: &BrokerProblem) -> String {
    format!("{}; {}", problem.what, problem.advice)
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
