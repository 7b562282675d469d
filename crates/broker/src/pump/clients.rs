//! The client of a pump, and what takes its place when it has died or its batches are too large.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{Producer, PurgeConfig},
};

use super::{Client, Pump, PumpContext, State};
use crate::client::with_known;

/// How long the old client of a dead producer may take to tell what it knows.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// A client that dies at once is not replaced faster than this.
const REVIVE_EVERY: Duration = Duration::from_secs(5);
/// How long a turn lasts while two clients have something to say.
const SHORT_TURN: Duration = Duration::from_millis(20);
/// With this size each record travels by itself: librdkafka adds no second one to a batch that is full.
const ALONE: usize = 1;
/// The size where the configuration names none; see `client.rs`.
const DEFAULT_BATCH: usize = 262_144;

/// How large batches may be, in bytes before compression.
///
/// A broker refuses a batch that exceeds the topic's `max.message.bytes` as a whole, and accepts the one behind it.
/// So that no record comes back on that account, a batch of several records is never larger than the topic allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchSize {
    configured: usize,
    /// The topic's limit, where the brokers tell it.
    limit: Option<usize>,
    /// Whether the brokers refused a batch that is within the limit.
    doubted: bool,
    /// What the client was made with.
    current: usize,
}

impl BatchSize {
    pub(super) fn new(config: &ClientConfig) -> Self {
        let configured = config.get("batch.size").and_then(|size| size.parse().ok()).unwrap_or(DEFAULT_BATCH);
        Self { configured, limit: None, doubted: false, current: configured }
    }

    /// The brokers refused a batch that should be small enough.
    pub(super) fn doubt(&mut self) {
        self.doubted = true;
    }

    /// The brokers tell the topic's limit. One that was doubted is believed when it has changed.
    fn learn(&mut self, limit: usize) {
        if self.limit != Some(limit) {
            (self.limit, self.doubted) = (Some(limit), false);
        }
    }

    fn wanted(&self) -> usize {
        match self.limit {
            _ if self.doubted => ALONE,
            Some(limit) => self.configured.min(limit).max(ALONE),
            None => self.configured,
        }
    }
}

/// A client that sends nothing new and waits for its last answers.
pub(super) struct Retiring {
    client: Arc<Client>,
    generation: usize,
    batch_size: usize,
    /// How many answers it owes.
    owed: usize,
}

impl State {
    /// An answer of the client `generation` has come. Returns the size of that client's batches, and nothing where its
    /// answers are void.
    pub(super) fn answered(&mut self, generation: usize) -> Option<usize> {
        if generation == self.generation {
            return Some(self.batch.current);
        }
        let retiring = self.retiring.as_mut().filter(|retiring| retiring.generation == generation)?;
        retiring.owed = retiring.owed.saturating_sub(1);
        Some(retiring.batch_size)
    }
}

impl Pump {
    pub(super) fn connect(
        self: &Arc<Self>,
        generation: usize,
        batch: BatchSize,
    ) -> Result<Arc<Client>, KafkaError> {
        let context = PumpContext { pump: Arc::clone(self), generation };
        let mut config = with_known(&self.config, &self.link.brokers());
        config.set("batch.size", batch.current.to_string());
        config.create_with_context(context).map(Arc::new)
    }

    /// The topics take no batch that is larger than `limit` bytes.
    pub(crate) fn limit_batches(&self, limit: usize) {
        self.state().batch.learn(limit);
    }

    /// Waits until it is doubtful how large batches may be.
    pub(crate) async fn until_in_doubt(&self) {
        self.doubt.notified().await;
    }

    /// To be called again and again by a thread of its own: handles librdkafka's events for `duration`, then sends
    /// what was held back.
    pub(crate) fn turn(self: &Arc<Self>, duration: Duration) {
        let (client, retiring) = {
            let state = self.state();
            (state.client.clone(), state.retiring.as_ref().map(|retiring| Arc::clone(&retiring.client)))
        };
        let duration = if retiring.is_some() { duration.min(SHORT_TURN) } else { duration };
        match &client {
            Some(client) => {
                client.poll(duration);
                if let Some((code, reason)) = client.client().fatal_error() {
                    self.revive(client, code, &reason);
                } else if self.recreated.load(Relaxed) {
                    self.start_over(client);
                }
            }
            None => thread::sleep(duration),
        }
        if let Some(retiring) = retiring {
            retiring.poll(Duration::ZERO);
            if retiring.client().fatal_error().is_some() {
                give_up(&retiring);
            }
        }
        self.resize();
        let mut state = self.state();
        let retired = state.retiring.take_if(|retiring| retiring.owed == 0);
        if state.closed {
            let clients = [state.client.take(), state.retiring.take().map(|retiring| retiring.client)];
            drop(state);
            for client in clients.into_iter().flatten() {
                // What was given up must not be sent after all. What is on the wire may arrive.
                client.purge(PurgeConfig::default().queue().inflight());
            }
            return;
        }
        self.send(&mut state);
        drop(state);
        drop(retired);
    }

    /// Puts a client with smaller or larger batches in the place of the present one, which keeps what it has.
    fn resize(self: &Arc<Self>) {
        let (generation, batch) = {
            let state = self.state();
            let wanted = state.batch.wanted();
            if state.retiring.is_some() || state.closed || wanted == state.batch.current {
                return;
            }
            (state.generation + 1, BatchSize { current: wanted, ..state.batch })
        };
        tracing::info!(bytes = batch.current, topic_limit = batch.limit, "the size of kafka batches changes");
        match self.connect(generation, batch) {
            Ok(client) => {
                let mut state = self.state();
                let owed = state.outbox.in_flight() + state.reports.in_flight();
                let batch_size = std::mem::replace(&mut state.batch.current, batch.current);
                let generation = std::mem::replace(&mut state.generation, generation);
                if let Some(client) = state.client.replace(client) {
                    state.retiring = Some(Retiring { client, generation, batch_size, owed });
                }
            }
            Err(error) => {
                let error = self.link.redactor().creation_error(&error);
                tracing::error!(%error, "the kafka producer could not be replaced, its batches may be too large");
                self.state().batch.current = batch.current;
            }
        }
    }

    /// Puts a new client in the place of one that has declared itself dead.
    fn revive(self: &Arc<Self>, dead: &Client, code: RDKafkaErrorCode, reason: &str) {
        if self.state().revived.is_some_and(|revived| revived.elapsed() < REVIVE_EVERY) {
            return;
        }
        self.link.error(code, reason);
        tracing::error!(?code, "the kafka producer has died, a new one takes its place");
        self.replace(dead);
    }

    /// Replaces the client after a topic was recreated.
    fn start_over(self: &Arc<Self>, client: &Client) {
        if self.state().revived.is_some_and(|revived| revived.elapsed() < REVIVE_EVERY) {
            return;
        }
        self.recreated.store(false, Relaxed);
        tracing::warn!("kafka topic recreated, producer replaced");
        self.replace(client);
    }

    /// Replaces `old`, which will not deliver any more records.
    fn replace(self: &Arc<Self>, old: &Client) {
        give_up(old);
        // What the new client is handed must not be in flight in another one.
        let retiring = self.state().retiring.as_ref().map(|retiring| Arc::clone(&retiring.client));
        if let Some(retiring) = retiring {
            give_up(&retiring);
        }
        let (generation, batch) = {
            let mut state = self.state();
            state.revived = Some(Instant::now());
            (state.generation + 1, state.batch)
        };
        match self.connect(generation, batch) {
            Ok(client) => {
                let mut state = self.state();
                state.generation = generation;
                state.reports.forget_sent();
                state.outbox.take_back(Instant::now());
                let gone = (state.client.replace(client), state.retiring.take());
                drop(state);
                drop(gone);
            }
            // The dead one refuses all records, which wait, and comes here again.
            Err(error) => {
                let error = self.link.redactor().creation_error(&error);
                tracing::error!(%error, "no new kafka producer could be made");
            }
        }
    }

    /// Lets go of the clients, which hold this pump in their callbacks.
    pub(crate) fn disconnect(&self) {
        let (client, retiring) = {
            let mut state = self.state();
            (state.client.take(), state.retiring.take())
        };
        drop((client, retiring));
    }
}

/// Takes from a client that is to go what it knows. Records that were acknowledged need not be sent again.
fn give_up(client: &Client) {
    client.purge(PurgeConfig::default().queue());
    let _ = client.flush(LAST_WORDS);
    client.purge(PurgeConfig::default().queue().inflight());
    let _ = client.flush(LAST_WORDS);
}
