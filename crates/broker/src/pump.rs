//! Moves records from the outbox to librdkafka, and its answers back.
//!
//! Whoever adds a record or learns of an answer sends what the window has room for, under one lock, so
//! that records keep their order. Nothing that happens under the lock waits: handing a record to
//! librdkafka copies it into a queue.
//!
//! **What may be doubled.** librdkafka's idempotent producer retries without doubling, across lost
//! connections and restarted brokers. Only when it declares itself dead (a *fatal* error: the broker has
//! lost track of it) is there no telling which of the records it had were written, and a new producer
//! sends them again. At most one window of records is doubled so, each with the same `(camera, session,
//! seq)`; the other choice would be to lose them. [`Pump::revive`] is the only place.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use lookout_schema::{ExpireCause, Topics};
use rdkafka::{
    ClientConfig, ClientContext, Statistics,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig},
};
use tokio::sync::Notify;

use crate::{
    BrokerError, SinkHealth, client,
    context::log,
    health::Link,
    outbox::{BACK_OFF, Outbox, Outcome, Outgoing, Place},
    reports::{Lane, Report, Reports},
};

/// A client with its callbacks.
pub(crate) type Client = BaseProducer<PumpContext>;

/// Stands for a report, which no ledger counts, where the place of a frame's record would.
fn place_of(lane: Lane) -> Place {
    match lane {
        Lane::Status => Place::MAX,
        Lane::Snapshots => Place::MAX - 1,
    }
}

/// How long the old client of a dead producer may take to tell what it knows.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A client that dies at once is not replaced faster than this.
const REVIVE_EVERY: Duration = Duration::from_secs(5);

pub(crate) struct Pump {
    config: ClientConfig,
    topics: Topics,
    link: Link,
    state: Mutex<State>,
    idle: Notify,
}

struct State {
    outbox: Outbox,
    client: Option<Arc<Client>>,
    /// Counts the clients; the answers of one that was given up are void.
    generation: usize,
    revived: Option<Instant>,
    reports: Reports,
    /// Sending begins when the topics were created, lest the first record has the broker create one with
    /// its own number of partitions.
    topics_ready: bool,
    /// Nothing is taken any more.
    closed: bool,
    refusal_logged: bool,
}

/// The callbacks of one client.
pub(crate) struct PumpContext {
    pump: Arc<Pump>,
    generation: usize,
}

impl Pump {
    /// A pump with its first client, which connects in the background.
    pub(crate) fn start(
        config: ClientConfig,
        topics: Topics,
        link: Link,
        outbox: Outbox,
    ) -> Result<Arc<Self>, BrokerError> {
        let state = State {
            outbox,
            client: None,
            generation: 0,
            revived: None,
            reports: Reports::default(),
            topics_ready: false,
            closed: false,
            refusal_logged: false,
        };
        let pump = Arc::new(Self { config, topics, link, state: Mutex::new(state), idle: Notify::new() });
        let client = pump.connect(0).map_err(|error| pump.link.redactor().creation_error(&error))?;
        pump.state().client = Some(client);
        Ok(pump)
    }

    fn connect(self: &Arc<Self>, generation: usize) -> Result<Arc<Client>, KafkaError> {
        let context = PumpContext { pump: Arc::clone(self), generation };
        self.config.create_with_context(context).map(Arc::new)
    }

    pub(crate) fn push(&self, record: Outgoing) {
        let mut state = self.state();
        if state.closed {
            return record.ticket.expired(ExpireCause::Shutdown);
        }
        state.outbox.push(record);
        self.send(&mut state);
    }

    pub(crate) fn report(&self, lane: Lane, report: Report) {
        let mut state = self.state();
        if !state.closed {
            state.reports.push(lane, report);
            self.send(&mut state);
        }
    }

    /// Sends what there is room for.
    fn send(&self, state: &mut State) {
        let Some(client) = state.client.clone() else { return };
        if state.topics_ready {
            self.send_records(&client, &mut state.outbox);
            Lane::ALL.into_iter().for_each(|lane| self.send_reports(&client, &mut state.reports, lane));
        }
        self.tell_if_idle(state);
    }

    fn send_records(&self, client: &Client, outbox: &mut Outbox) {
        let now = Instant::now();
        while let Some((place, record)) = outbox.next(now) {
            let message = BaseRecord::with_opaque_to(&self.topics.frames, place)
                .key(record.camera.as_str())
                .payload(&record.payload);
            let Err((error, _)) = client.send(message) else {
                outbox.sent(place);
                continue;
            };
            let code = client::code(&error);
            if matches!(outcome(code), Outcome::Rejected | Outcome::TooLarge) {
                let size = record.payload.len();
                tracing::warn!(camera = %record.camera, size, ?code, "a record cannot be sent, ever");
                outbox.refused(place);
                continue;
            }
            // A full queue empties with the next answer; for all else a moment is left to pass.
            if code != RDKafkaErrorCode::QueueFull {
                outbox.hold(now + BACK_OFF);
            }
            break;
        }
    }

    fn send_reports(&self, client: &Client, reports: &mut Reports, lane: Lane) {
        let topic = match lane {
            Lane::Status => &self.topics.status,
            Lane::Snapshots => &self.topics.snapshots,
        };
        while let Some(report) = reports.next(lane) {
            let message =
                BaseRecord::with_opaque_to(topic, place_of(lane)).key(&report.key).payload(&report.payload);
            match client.send(message) {
                Ok(()) => reports.sent(lane),
                Err((error, _)) if client::code(&error) == RDKafkaErrorCode::QueueFull => break,
                // By the time that it could be sent there are later ones.
                Err((error, _)) if lane == Lane::Snapshots => {
                    tracing::debug!(camera = report.key, code = ?client::code(&error), "a snapshot was refused");
                    reports.refused(lane);
                }
                Err(_) => break,
            }
        }
    }

    /// To be called again and again by a thread of its own: hears librdkafka for `duration`, then sends
    /// what was held back.
    pub(crate) fn turn(self: &Arc<Self>, duration: Duration) {
        let client = self.state().client.clone();
        match client {
            Some(client) => {
                client.poll(duration);
                if let Some((code, reason)) = client.client().fatal_error() {
                    self.revive(&client, code, &reason);
                }
            }
            None => thread::sleep(duration),
        }
        let mut state = self.state();
        if state.closed
            && let Some(client) = state.client.take()
        {
            drop(state);
            // What was given up must not be sent after all. What is on the wire may arrive.
            client.purge(PurgeConfig::default().queue().inflight());
            return;
        }
        self.send(&mut state);
    }

    /// Puts a new client in the place of one that has declared itself dead.
    fn revive(self: &Arc<Self>, dead: &Client, code: RDKafkaErrorCode, reason: &str) {
        if self.state().revived.is_some_and(|revived| revived.elapsed() < REVIVE_EVERY) {
            return;
        }
        self.link.error(code, reason);
        tracing::error!(?code, "the kafka producer has died, a new one takes its place");
        dead.purge(PurgeConfig::default().queue().inflight());
        // Records that were acknowledged before are among its answers, and need not be sent again.
        let _ = dead.flush(LAST_WORDS);
        let generation = {
            let mut state = self.state();
            state.revived = Some(Instant::now());
            state.generation + 1
        };
        match self.connect(generation) {
            Ok(client) => {
                let mut state = self.state();
                state.generation = generation;
                state.reports.forget_sent();
                state.outbox.take_back(Instant::now());
                state.client = Some(client);
            }
            // The dead one refuses all records, which wait, and comes here again.
            Err(error) => {
                let error = self.link.redactor().creation_error(&error);
                tracing::error!(%error, "no new kafka producer could be made");
            }
        }
    }

    fn answer(&self, generation: usize, place: Place, result: &DeliveryResult<'_>) {
        let error = result.as_ref().err().map(|(error, _)| client::code(error));
        let mut state = self.state();
        if generation != state.generation {
            return;
        }
        if let Some(lane) = Lane::ALL.into_iter().find(|lane| place_of(*lane) == place) {
            let message = result.as_ref().unwrap_or_else(|(_, message)| message);
            state.reports.settled(lane, message.payload_len(), error.is_none());
            return self.send(&mut state);
        }
        let outcome = error.map_or(Outcome::Delivered, outcome);
        let camera = state.outbox.settle(place, outcome, Instant::now());
        match (outcome, error) {
            (Outcome::Delivered, _) => state.refusal_logged = false,
            (_, Some(code)) if !state.refusal_logged => {
                state.refusal_logged = true;
                let camera = camera.as_ref().map(|camera| camera.as_str());
                tracing::warn!(camera, ?code, ?outcome, "kafka refuses records");
            }
            _ => {}
        }
        self.send(&mut state);
    }

    pub(crate) fn topics_are_ready(&self) {
        let mut state = self.state();
        state.topics_ready = true;
        self.send(&mut state);
    }

    fn tell_if_idle(&self, state: &State) {
        if state.is_idle() {
            self.idle.notify_waiters();
        }
    }

    /// Waits until nothing but snapshots is under way.
    pub(crate) async fn until_idle(&self) {
        self.until(State::is_idle).await;
    }

    /// Waits until nothing is under way.
    pub(crate) async fn until_empty(&self) {
        self.until(|state| state.is_idle() && state.reports.is_empty(Lane::Snapshots)).await;
    }

    async fn until(&self, holds: impl Fn(&State) -> bool) {
        loop {
            let told = self.idle.notified();
            if holds(&self.state()) {
                return;
            }
            told.await;
        }
    }

    /// Gives up what is left, and takes nothing any more.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.outbox.expire_all(ExpireCause::Shutdown);
        state.reports.clear();
        self.tell_if_idle(&state);
    }

    /// Lets go of the client, which holds this pump in its callbacks.
    pub(crate) fn disconnect(&self) {
        let client = self.state().client.take();
        drop(client);
    }

    pub(crate) fn health(&self) -> SinkHealth {
        let state = self.state();
        SinkHealth {
            connected: self.link.connected(),
            last_error: self.link.last_error(),
            outbox: state.outbox.waiting(),
            in_flight: state.outbox.in_flight(),
            oldest_unacked: state.outbox.oldest().map(|oldest| oldest.elapsed()),
            snapshots_lost: state.reports.lost(Lane::Snapshots),
        }
    }

    // Each critical section leaves the outbox whole at each step, so a poisoned lock still guards one.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_idle(&self) -> bool {
        self.outbox.waiting() + self.outbox.in_flight() == 0 && self.reports.is_empty(Lane::Status)
    }
}

/// What an error of librdkafka or the broker means for the record it came with. What is not known to be
/// for good is tried again: the ledger shows records that wait, and none is lost by mistake.
fn outcome(code: RDKafkaErrorCode) -> Outcome {
    use RDKafkaErrorCode as Code;
    match code {
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => {
            Outcome::TooLarge
        }
        Code::TopicAuthorizationFailed
        | Code::InvalidTopic
        | Code::InvalidRecord
        | Code::InvalidTimestamp
        | Code::PolicyViolation => Outcome::Rejected,
        _ => Outcome::Returned,
    }
}

impl ClientContext for PumpContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log(self.pump.link.redactor(), level, facility, line);
    }

    fn stats(&self, statistics: Statistics) {
        self.pump.link.observe(&statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.pump.link.error(client::code(&error), reason);
    }
}

impl ProducerContext for PumpContext {
    type DeliveryOpaque = Place;

    fn delivery(&self, result: &DeliveryResult<'_>, place: Place) {
        self.pump.answer(self.generation, place, result);
    }
}
