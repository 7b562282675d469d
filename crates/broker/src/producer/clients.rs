//! The clients of the producer, and their replacement after a fatal error, after a topic was recreated, or for
//! another batch size.

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

use super::{Client, KafkaProducer, ProducerCallbacks, State};
use crate::client::with_known;

/// How long the old client may take to deliver its last delivery reports when it is replaced.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// The shortest time between two replacements of a client that fails at once.
const RECREATE_INTERVAL: Duration = Duration::from_secs(5);
/// The longest poll while there are two clients to poll.
const SHORT_POLL: Duration = Duration::from_millis(20);
/// With this batch size, each record is sent in its own batch: librdkafka adds no second record to a batch that is
/// full.
const ALONE: usize = 1;
/// The batch size if the configuration has none; see `client.rs`.
const DEFAULT_BATCH: usize = 262_144;

/// The maximum size of a batch, in bytes before compression.
///
/// A broker rejects a batch that exceeds the topic's `max.message.bytes` as a whole, and accepts the next one. To
/// prevent this, a batch of several records is never larger than the topic allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchSize {
    configured: usize,
    /// The topic's limit, if the brokers report it.
    limit: Option<usize>,
    /// Whether the brokers rejected a batch that was within the limit.
    doubted: bool,
    /// The batch size of the current client.
    current: usize,
}

impl BatchSize {
    pub(super) fn new(config: &ClientConfig) -> Self {
        let configured = config.get("batch.size").and_then(|size| size.parse().ok()).unwrap_or(DEFAULT_BATCH);
        Self { configured, limit: None, doubted: false, current: configured }
    }

    /// Notes that the brokers rejected a batch that should have been small enough.
    pub(super) fn doubt(&mut self) {
        self.doubted = true;
    }

    /// Updates the topic's limit. A limit that was doubted is trusted again once it has changed.
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

/// A client that sends no new records and waits for its last delivery reports.
pub(super) struct Retiring {
    client: Arc<Client>,
    generation: usize,
    batch_size: usize,
    /// The number of delivery reports that are still missing.
    owed: usize,
}

impl State {
    /// Notes a delivery report of the client `generation`. Returns the batch size of that client, or `None` if its
    /// delivery reports are to be ignored.
    pub(super) fn on_delivery(&mut self, generation: usize) -> Option<usize> {
        if generation == self.generation {
            return Some(self.batch.current);
        }
        let retiring = self.retiring.as_mut().filter(|retiring| retiring.generation == generation)?;
        retiring.owed = retiring.owed.saturating_sub(1);
        Some(retiring.batch_size)
    }
}

impl KafkaProducer {
    pub(super) fn connect(
        self: &Arc<Self>,
        generation: usize,
        batch: BatchSize,
    ) -> Result<Arc<Client>, KafkaError> {
        let context = ProducerCallbacks { producer: Arc::clone(self), generation };
        let mut config = with_known(&self.config, &self.link.brokers());
        config.set("batch.size", batch.current.to_string());
        self.credentials.renew(&mut config);
        let client = Arc::new(config.create_with_context(context)?);
        self.credentials.follow(&client, |client: &Client| client.client().native_ptr());
        Ok(client)
    }

    /// Sets the topics' limit: they accept no batch that is larger than `limit` bytes.
    pub(crate) fn limit_batches(&self, limit: usize) {
        self.state().batch.learn(limit);
    }

    /// Waits until the known limit of batches is in doubt.
    pub(crate) async fn until_in_doubt(&self) {
        self.doubt.notified().await;
    }

    /// Polls librdkafka for `duration`, then sends the records that were held back. A dedicated thread has to call
    /// this in a loop.
    pub(crate) fn poll(self: &Arc<Self>, duration: Duration) {
        let (client, retiring) = {
            let state = self.state();
            (state.client.clone(), state.retiring.as_ref().map(|retiring| Arc::clone(&retiring.client)))
        };
        let duration = if retiring.is_some() { duration.min(SHORT_POLL) } else { duration };
        match &client {
            Some(client) => {
                client.poll(duration);
                if let Some((code, reason)) = client.client().fatal_error() {
                    self.recreate(client, code, &reason);
                } else if self.recreated.load(Relaxed) {
                    self.recreate_for_topic(client);
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
                // Records that were given up must not be sent later. Records that were already sent may still arrive.
                client.purge(PurgeConfig::default().queue().inflight());
            }
            return;
        }
        self.send(&mut state);
        drop(state);
        drop(retired);
    }

    /// Replaces the current client by one with smaller or larger batches. The old client keeps its records in flight.
    fn resize(self: &Arc<Self>) {
        let (generation, batch) = {
            let state = self.state();
            let wanted = state.batch.wanted();
            if state.retiring.is_some() || state.closed || wanted == state.batch.current {
                return;
            }
            (state.generation + 1, BatchSize { current: wanted, ..state.batch })
        };
        tracing::info!(
            bytes = batch.current,
            topic_limit = batch.limit,
            "changing the maximum size of kafka batches"
        );
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
                tracing::error!(%error, "the kafka producer could not be recreated, its batches may be too large");
                self.state().batch.current = batch.current;
            }
        }
    }

    /// Replaces a client after a fatal error.
    fn recreate(self: &Arc<Self>, dead: &Client, code: RDKafkaErrorCode, reason: &str) {
        if self.state().recreated_at.is_some_and(|recreated_at| recreated_at.elapsed() < RECREATE_INTERVAL) {
            return;
        }
        self.link.error(code, reason);
        tracing::error!(?code, "the kafka producer failed fatally, it is recreated");
        self.replace(dead);
    }

    /// Replaces the client after a topic was recreated.
    fn recreate_for_topic(self: &Arc<Self>, client: &Client) {
        if self.state().recreated_at.is_some_and(|recreated_at| recreated_at.elapsed() < RECREATE_INTERVAL) {
            return;
        }
        self.recreated.store(false, Relaxed);
        tracing::warn!("a kafka topic was recreated, the producer is recreated too");
        self.replace(client);
    }

    /// Replaces `old`, which will not deliver any more records.
    fn replace(self: &Arc<Self>, old: &Client) {
        give_up(old);
        // The records that the new client gets must not be in flight in another client.
        let retiring = self.state().retiring.as_ref().map(|retiring| Arc::clone(&retiring.client));
        if let Some(retiring) = retiring {
            give_up(&retiring);
        }
        let (generation, batch) = {
            let mut state = self.state();
            state.recreated_at = Some(Instant::now());
            (state.generation + 1, state.batch)
        };
        match self.connect(generation, batch) {
            Ok(client) => {
                let mut state = self.state();
                state.generation = generation;
                state.reports.forget_sent();
                state.outbox.requeue(Instant::now());
                let gone = (state.client.replace(client), state.retiring.take());
                drop(state);
                drop(gone);
            }
            // After a fatal error, the old client rejects all records, so they wait, and a later call of `poll` tries
            // to replace it again.
            Err(error) => {
                let error = self.link.redactor().creation_error(&error);
                tracing::error!(%error, "the kafka producer could not be recreated");
            }
        }
    }

    /// Drops the clients. Their callbacks hold a reference to this `KafkaProducer`.
    pub(crate) fn disconnect(&self) {
        let (client, retiring) = {
            let mut state = self.state();
            (state.client.take(), state.retiring.take())
        };
        drop((client, retiring));
    }
}

/// Collects the last delivery reports of a client before it is dropped. Records that were acknowledged need not be
/// sent again.
fn give_up(client: &Client) {
    client.purge(PurgeConfig::default().queue());
    let _ = client.flush(FLUSH_TIMEOUT);
    client.purge(PurgeConfig::default().queue().inflight());
    let _ = client.flush(FLUSH_TIMEOUT);
}
