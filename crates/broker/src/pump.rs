//! The worker's Kafka producer (`Pump`): moves records from the outbox to librdkafka, and handles the delivery
//! reports.
//!
//! Every call that adds a record or handles a delivery report also sends the records that the window has room for,
//! under one lock, so that records keep their order. Nothing blocks while the lock is held: passing a record to
//! librdkafka copies it into a queue.
//!
//! **When duplicates can occur.** librdkafka's idempotent producer retries without duplicates, across lost
//! connections and broker restarts. After a *fatal* error (the broker has lost the producer's state), it is unknown
//! which of the records in flight were written, and a new producer sends them again. At most one window of records is
//! duplicated this way, each with the same `(camera, session, seq)`; the alternative would be to lose them. The same
//! happens when a topic was recreated: librdkafka keeps the leader epochs of the deleted topic, and may not find the
//! leaders of the new one. [`Pump::replace`] is the only place that sends records again.

mod clients;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use lookout_schema::{ExpireCause, RecordKind, Topics};
use lookout_stage::SinkHealth;
use rdkafka::{
    ClientConfig, ClientContext, Statistics,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, DeliveryResult, ProducerContext},
};
use tokio::sync::Notify;

use crate::{
    BrokerError, client,
    connection_state::{ConnectionState, HELD_UP_AFTER},
    context::{hang_up, log},
    credentials::Credentials,
    fetching::lines::{self, Line},
    outbox::{BACK_OFF, Outbox, Outcome, Outgoing, Place},
    refusals::{Refusals, Scope},
    reports::{Lane, Report, Reports},
};
use clients::{BatchSize, Retiring};

/// A librdkafka producer with its callbacks.
pub(crate) type Client = BaseProducer<PumpContext>;

/// Returns a sentinel sequence number for a report. Reports are not in the ledger and have no sequence number of
/// their own.
fn place_of(lane: Lane) -> Place {
    match lane {
        Lane::Status => Place::MAX,
        Lane::Snapshots => Place::MAX - 1,
    }
}

fn kind_of(lane: Lane) -> RecordKind {
    match lane {
        Lane::Status => RecordKind::Status,
        Lane::Snapshots => RecordKind::Snapshot,
    }
}

pub(crate) struct Pump {
    config: ClientConfig,
    credentials: Credentials,
    /// Whether the user asked for librdkafka's debug lines.
    debug: bool,
    topics: Topics,
    link: ConnectionState,
    state: Mutex<State>,
    idle: Notify,
    /// Notified when the broker rejected a batch as too large although it was within the topic's known limit.
    doubt: Notify,
    /// The ids of the topics, and whether a topic was recreated. They are outside `state` because librdkafka calls
    /// the log callback during calls that are made while `state` is locked.
    topic_ids: Mutex<BTreeMap<String, String>>,
    recreated: AtomicBool,
}

struct State {
    outbox: Outbox,
    client: Option<Arc<Client>>,
    /// The number of the current client. Delivery reports of a client that was given up are ignored.
    generation: usize,
    /// The previous client, while it has records in flight.
    retiring: Option<Retiring>,
    batch: BatchSize,
    revived: Option<Instant>,
    reports: Reports,
    refusals: Refusals,
    /// Sending starts after the topics were created. Otherwise the first record could make the broker create a topic
    /// with the broker's own number of partitions.
    topics_ready: bool,
    /// Whether the producer is closed and accepts no more records.
    closed: bool,
}

/// The callbacks of one client.
pub(crate) struct PumpContext {
    pump: Arc<Pump>,
    generation: usize,
}

impl Pump {
    /// Starts the producer with its first client, which connects in the background.
    pub(crate) fn start(
        mut config: ClientConfig,
        credentials: Credentials,
        topics: Topics,
        link: ConnectionState,
        outbox: Outbox,
    ) -> Result<Arc<Self>, BrokerError> {
        let batch = BatchSize::new(&config);
        let debug = matches!(config.log_level, RDKafkaLogLevel::Debug);
        lines::configure(&mut config);
        let state = State {
            outbox,
            client: None,
            generation: 0,
            retiring: None,
            batch,
            revived: None,
            reports: Reports::default(),
            refusals: Refusals::new(topics.clone()),
            topics_ready: false,
            closed: false,
        };
        let pump = Arc::new(Self {
            config,
            credentials,
            debug,
            topics,
            link,
            state: Mutex::new(state),
            idle: Notify::new(),
            doubt: Notify::new(),
            topic_ids: Mutex::default(),
            recreated: AtomicBool::new(false),
        });
        let client = pump.connect(0, batch).map_err(|error| pump.link.redactor().creation_error(&error))?;
        pump.state().client = Some(client);
        Ok(pump)
    }

    fn take_topic_id(&self, topic: &str, id: &str) {
        let mut ids = self.topic_ids.lock().unwrap_or_else(PoisonError::into_inner);
        let before = ids.insert(topic.to_owned(), id.to_owned());
        if before.is_some_and(|before| before != id) {
            self.recreated.store(true, Relaxed);
        }
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

    /// Sends the records and reports that the windows have room for.
    fn send(&self, state: &mut State) {
        let Some(client) = state.client.clone() else { return };
        if state.topics_ready {
            self.send_records(&client, state);
            Lane::ALL.into_iter().for_each(|lane| self.send_reports(&client, state, lane));
        }
        self.tell_if_idle(state);
    }

    fn send_records(&self, client: &Client, state: &mut State) {
        let now = Instant::now();
        while let Some((place, record)) = state.outbox.next(now) {
            let message = BaseRecord::with_opaque_to(&self.topics.frames, place)
                .key(record.camera.as_str())
                .payload(&record.payload);
            let sent = client.send(message);
            let camera = record.camera.clone();
            let Err((error, _)) = sent else {
                state.outbox.sent(&camera, place);
                continue;
            };
            match client::code(&error) {
                // The queue has room again after the next delivery report.
                RDKafkaErrorCode::QueueFull => break,
                // The next call of `turn` replaces the client.
                RDKafkaErrorCode::Fatal => {
                    state.outbox.hold(now + BACK_OFF);
                    break;
                }
                code => {
                    let key = Some(camera.as_str());
                    if outcome(code) == Outcome::Rejected {
                        state.refusals.refused(RecordKind::Frame, (code, Scope::Record), key, now);
                        state.outbox.refused(&camera, place);
                    } else {
                        state.refusals.refused(RecordKind::Frame, (code, Scope::Topic), key, now);
                        state.outbox.hold_camera(&camera, now);
                    }
                }
            }
        }
        state.outbox.round_ends();
    }

    fn send_reports(&self, client: &Client, state: &mut State, lane: Lane) {
        let kind = kind_of(lane);
        let now = Instant::now();
        while let Some(report) = state.reports.next(lane, now) {
            let message = BaseRecord::with_opaque_to(self.topics.of(kind), place_of(lane))
                .key(&report.key)
                .payload(&report.payload);
            match client.send(message) {
                Ok(()) => state.reports.sent(lane),
                Err((error, _)) if client::code(&error) == RDKafkaErrorCode::QueueFull => break,
                Err((error, _)) => {
                    let code = client::code(&error);
                    let is_too_large = outcome(code) == Outcome::Rejected;
                    let scope = if is_too_large { Scope::Record } else { Scope::Topic };
                    state.refusals.refused(kind, (code, scope), Some(&report.key), now);
                    // By the time a snapshot could be sent, newer ones exist.
                    if is_too_large || lane == Lane::Snapshots {
                        state.reports.refused(lane);
                    } else {
                        state.reports.hold(lane, now + BACK_OFF);
                    }
                }
            }
        }
    }

    fn answer(&self, generation: usize, place: Place, result: &DeliveryResult<'_>) {
        let error = result.as_ref().err().map(|(error, _)| client::code(error));
        let now = Instant::now();
        let mut state = self.state();
        let Some(batch_size) = state.answered(generation) else { return };
        if let Some(lane) = Lane::ALL.into_iter().find(|lane| place_of(*lane) == place) {
            let message = result.as_ref().unwrap_or_else(|(_, message)| message);
            state.reports.settled(lane, message.payload_len(), error.is_none());
            match error {
                None => state.refusals.accepted(kind_of(lane), now),
                Some(code) if is_own(code) => {}
                Some(code) => {
                    let scope = if outcome(code) == Outcome::Rejected { Scope::Record } else { Scope::Topic };
                    state.refusals.refused(kind_of(lane), (code, scope), None, now);
                }
            }
            return self.send(&mut state);
        }
        let Some(record) = state.outbox.in_flight_at(place) else { return };
        let outcome = match error {
            None => Outcome::Delivered,
            // The broker rejected the whole batch, in which not every record is too large.
            Some(code) if is_too_large(code) && record.size() < batch_size => {
                state.batch.doubt();
                self.doubt.notify_one();
                Outcome::Returned
            }
            Some(code) => outcome(code),
        };
        let camera = state.outbox.settle(place, outcome, now);
        let key = camera.as_ref().map(|camera| camera.as_str());
        match (outcome, error) {
            (Outcome::Delivered, _) | (_, None) => state.refusals.accepted(RecordKind::Frame, now),
            (Outcome::Rejected, Some(code)) => {
                state.refusals.refused(RecordKind::Frame, (code, Scope::Record), key, now);
            }
            (Outcome::Returned, Some(code)) if is_own(code) || is_too_large(code) => {}
            (Outcome::Returned, Some(code)) => {
                state.refusals.refused(RecordKind::Frame, (code, Scope::Topic), key, now);
            }
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

    /// Waits until only snapshots remain to be sent.
    pub(crate) async fn until_idle(&self) {
        self.until(State::is_idle).await;
    }

    /// Waits until nothing remains to be sent.
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

    /// Expires all remaining records, and accepts no more.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.outbox.expire_all(ExpireCause::Shutdown);
        state.reports.clear();
        self.tell_if_idle(&state);
    }

    pub(crate) fn health(&self) -> SinkHealth {
        let now = Instant::now();
        let state = self.state();
        let mut held_up: Vec<_> = now
            .checked_sub(HELD_UP_AFTER)
            .into_iter()
            .flat_map(|before| state.outbox.held_up(before))
            .map(|(camera, since)| (camera.clone(), now.saturating_duration_since(since)))
            .collect();
        held_up.sort_by_key(|(_, waited)| std::cmp::Reverse(*waited));
        SinkHealth {
            connected: self.link.connected(),
            last_error: self.link.last_error(),
            outbox: state.outbox.waiting(),
            in_flight: state.outbox.in_flight(),
            oldest_unacked: state.outbox.oldest().map(|oldest| now.saturating_duration_since(oldest)),
            held_up,
            refused: [RecordKind::Frame, RecordKind::Status, RecordKind::Snapshot]
                .into_iter()
                .filter_map(|kind| Some((kind, state.refusals.standing(kind, now)?)))
                .collect(),
            refused_cameras: state.outbox.refused_cameras().cloned().collect(),
            refusals: state.refusals.counts(),
            snapshots_lost: state.reports.lost(Lane::Snapshots),
        }
    }

    // Each critical section leaves the outbox consistent after each step, so the state behind a poisoned lock is
    // valid.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_idle(&self) -> bool {
        self.outbox.waiting() + self.outbox.in_flight() == 0 && self.reports.is_empty(Lane::Status)
    }
}

/// Returns what an error of librdkafka or the broker means for its record. Only errors of the record itself are
/// final. Problems with rights, clocks, policies and topics can be solved, so the record waits: no record is lost by
/// mistake, and the ledger and the sink's health show the records that wait.
fn outcome(code: RDKafkaErrorCode) -> Outcome {
    if is_too_large(code) || code == RDKafkaErrorCode::InvalidRecord {
        Outcome::Rejected
    } else {
        Outcome::Returned
    }
}

/// Returns whether the record, or the batch that contained it, is larger than the topic allows.
fn is_too_large(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(code, Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge)
}

/// Returns whether the error comes from the client itself, which was given up with the record, and not from the
/// broker.
fn is_own(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(code, Code::PurgeQueue | Code::PurgeInflight | Code::Fatal)
}

impl ClientContext for PumpContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        if let Some(Line::TopicId { topic, id }) = lines::read(facility, line) {
            self.pump.take_topic_id(topic, id);
        }
        if let Some(reason) = hang_up(facility, line) {
            self.pump.link.error(RDKafkaErrorCode::BrokerTransportFailure, reason);
        }
        if self.pump.debug || !matches!(level, RDKafkaLogLevel::Debug) {
            log(self.pump.link.redactor(), level, facility, line);
        }
    }

    fn stats(&self, statistics: Statistics) {
        // A client that is about to be dropped does not know the state of the current one.
        if self.pump.state().generation == self.generation {
            self.pump.link.observe(&statistics);
        }
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
