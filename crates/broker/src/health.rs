//! Whether the brokers can be reached, as librdkafka sees it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use lookout_config::KafkaSettings;
use lookout_schema::{CameraId, RecordKind};
use rdkafka::{Statistics, error::RDKafkaErrorCode};

use crate::{
    BrokerProblem, RefusalCount,
    advice::{Security, explain, explain_slowly, is_untrusted},
    client::{Redactor, known_brokers},
};

/// A camera is held up when its oldest record has waited this long for the broker.
pub(crate) const HELD_UP_AFTER: Duration = Duration::from_secs(5);

/// How a sink is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SinkHealth {
    /// At least one broker is connected; seen once a second.
    pub connected: bool,
    /// The last error of the client since it was connected, in words, without secrets.
    pub last_error: Option<String>,
    /// Records that wait to be handed to the Kafka client.
    pub outbox: usize,
    /// Records that the Kafka client has and the broker has not acknowledged.
    pub in_flight: usize,
    /// How long the oldest record that is not acknowledged has waited.
    pub oldest_unacked: Option<Duration>,
    /// Cameras whose oldest record has waited for more than 5 s, and how long it has; the longest first.
    pub held_up: Vec<(CameraId, Duration)>,
    /// Topics that take no records now, by the kind of their records, with why and what to do.
    pub refused: Vec<(RecordKind, String)>,
    /// Cameras whose records the broker refuses one after the other, each on its own account: too large, invalid.
    pub refused_cameras: Vec<CameraId>,
    /// How often the brokers have refused a record, by kind and error.
    pub refusals: Vec<RefusalCount>,
    /// Snapshots that the broker never had: later ones took their place, or it refused them.
    pub snapshots_lost: u64,
}

/// The connection's state, shared by the client's callbacks.
pub(crate) struct Link {
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
    /// A certificate that is not accepted is being looked at.
    looking: bool,
}

impl Link {
    pub(crate) fn new(settings: &KafkaSettings) -> Self {
        Self { redactor: Redactor::new(settings), security: Security::of(settings), seen: Arc::default() }
    }

    pub(crate) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    pub(crate) fn connected(&self) -> bool {
        self.seen().connected
    }

    /// `host:port` of the brokers that the client knows of.
    pub(crate) fn brokers(&self) -> Vec<String> {
        self.seen().brokers.clone()
    }

    pub(crate) fn last_error(&self) -> Option<String> {
        self.seen().last_error.as_ref().map(|(_, reason)| reason.clone())
    }

    /// Takes note of the brokers' states and logs where they have changed.
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
            tracing::info!("kafka is connected");
        } else {
            let error = seen.last_error.as_ref().map(|(_, reason)| reason.as_str());
            tracing::warn!(error, "kafka cannot be reached, records wait");
        }
    }

    /// Takes note of an error and logs it where it is another than the last. librdkafka says the same of
    /// each try to connect.
    pub(crate) fn error(&self, code: RDKafkaErrorCode, reason: &str) {
        let reason = self.redactor.redact(reason);
        let mut seen = self.seen();
        let last = seen.last_error.as_ref().map(|(code, _)| *code);
        if code == RDKafkaErrorCode::AllBrokersDown {
            seen.connected = false;
            // The error before it says why.
            if last.is_some() {
                return;
            }
        }
        // That one broker refuses the login says more than that another is not there.
        if last == Some(RDKafkaErrorCode::Authentication) && code == RDKafkaErrorCode::BrokerTransportFailure
        {
            return;
        }
        if last == Some(code) && code == RDKafkaErrorCode::SSL {
            return;
        }
        if last != Some(code) && is_untrusted(code, &reason) {
            return self.look_at_certificate(&mut seen, code, reason);
        }
        let problem = explain(code, &reason, &self.security);
        if last != Some(code) {
            tell(code, &problem);
        }
        seen.last_error = Some((code, in_words(&problem)));
    }

    /// Fetches the certificate on a thread of its own, since librdkafka must not wait.
    fn look_at_certificate(&self, seen: &mut Seen, code: RDKafkaErrorCode, reason: String) {
        seen.last_error = Some((code, in_words(&explain(code, &reason, &self.security))));
        if seen.looking {
            return;
        }
        seen.looking = true;
        let (security, shared) = (self.security.clone(), Arc::clone(&self.seen));
        let look = move || {
            let problem = explain_slowly(code, &reason, &security);
            let mut seen = lock(&shared);
            seen.looking = false;
            tell(code, &problem);
            if let Some((last, words)) = &mut seen.last_error
                && *last == code
            {
                *words = in_words(&problem);
            }
        };
        if let Err(error) = thread::Builder::new().name("kafka-certificate".into()).spawn(look) {
            seen.looking = false;
            let reason = seen.last_error.as_ref().map(|(_, words)| words.as_str());
            tracing::warn!(%error, reason, "the kafka client reports an error");
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }
}

fn tell(code: RDKafkaErrorCode, problem: &BrokerProblem) {
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
