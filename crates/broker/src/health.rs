//! Whether the brokers can be reached, as librdkafka sees it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rdkafka::{Statistics, error::RDKafkaErrorCode};

use crate::client::Redactor;

/// How a sink is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Snapshots that the broker never had: later ones took their place, or it refused them.
    pub snapshots_lost: u64,
}

/// The connection's state, shared by the client's callbacks.
pub(crate) struct Link {
    redactor: Redactor,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    connected: bool,
    last_error: Option<(RDKafkaErrorCode, String)>,
}

impl Link {
    pub(crate) fn new(redactor: Redactor) -> Self {
        Self { redactor, seen: Mutex::default() }
    }

    pub(crate) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    pub(crate) fn connected(&self) -> bool {
        self.seen().connected
    }

    pub(crate) fn last_error(&self) -> Option<String> {
        self.seen().last_error.as_ref().map(|(_, reason)| reason.clone())
    }

    /// Takes note of the brokers' states and logs where they have changed.
    pub(crate) fn observe(&self, statistics: &Statistics) {
        let connected = statistics.brokers.values().any(|broker| broker.state == "UP");
        let mut seen = self.seen();
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
        if last != Some(code) {
            tracing::warn!(code = ?code, reason, "the kafka client reports an error");
        }
        seen.last_error = Some((code, reason));
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
