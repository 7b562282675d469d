//! The worker's Kafka producer: moves records from the outbox to librdkafka, and handles the delivery
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
//! leaders of the new one. [`KafkaProducer::replace`] is the only place that sends records again.

mod callbacks;
mod clients;
mod delivery;

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
    ClientConfig,
    config::RDKafkaLogLevel,
    error::RDKafkaErrorCode,
    producer::{BaseProducer, BaseRecord, DeliveryResult},
};
use tokio::sync::Notify;

use crate::{
    BrokerError, client,
    connection_state::{ConnectionState, HELD_UP_AFTER},
    credentials::Credentials,
    fetching::lines,
    outbox::{BACK_OFF, Outbox, Outcome, PendingRecord, SeqNo},
    refusals::{Refusals, Scope},
    report_queues::{Report, ReportKind, ReportQueues},
};
use callbacks::ProducerCallbacks;
use clients::{BatchSize, Retiring};
use delivery::{DeliveryToken, is_own, is_too_large, outcome};

/// A librdkafka producer with its callbacks.
pub(crate) type Client = BaseProducer<ProducerCallbacks>;

pub(crate) struct KafkaProducer {
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
    recreated_at: Option<Instant>,
    reports: ReportQueues,
    refusals: Refusals,
    /// Sending starts after the topics were created. Otherwise the first record could make the broker create a topic
    /// with the broker's own number of partitions.
    topics_ready: bool,
    /// Whether the producer is closed and accepts no more records.
    closed: bool,
}

impl KafkaProducer {
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
            recreated_at: None,
            reports: ReportQueues::default(),
            refusals: Refusals::new(topics.clone()),
            topics_ready: false,
            closed: false,
        };
        let producer = Arc::new(Self {
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
        let client =
            producer.connect(0, batch).map_err(|error| producer.link.redactor().creation_error(&error))?;
        producer.state().client = Some(client);
        Ok(producer)
    }

    fn take_topic_id(&self, topic: &str, id: &str) {
        let mut ids = self.topic_ids.lock().unwrap_or_else(PoisonError::into_inner);
        let before = ids.insert(topic.to_owned(), id.to_owned());
        if before.is_some_and(|before| before != id) {
            self.recreated.store(true, Relaxed);
        }
    }

    pub(crate) fn push(&self, record: PendingRecord) {
        let mut state = self.state();
        if state.closed {
            return record.ticket.expired(ExpireCause::Shutdown);
        }
        state.outbox.push(record);
        self.send(&mut state);
    }

    pub(crate) fn report(&self, kind: ReportKind, report: Report) {
        let mut state = self.state();
        if !state.closed {
            state.reports.push(kind, report);
            self.send(&mut state);
        }
    }

    /// Sends the records and reports that the windows have room for.
    fn send(&self, state: &mut State) {
        let Some(client) = state.client.clone() else { return };
        if state.topics_ready {
            self.send_records(&client, state);
            ReportKind::ALL.into_iter().for_each(|kind| self.send_reports(&client, state, kind));
        }
        self.notify_if_idle(state);
    }

    fn send_records(&self, client: &Client, state: &mut State) {
        let now = Instant::now();
        while let Some((seq, record)) = state.outbox.next(now) {
            let message =
                BaseRecord::with_opaque_to(&self.topics.frames, Box::new(DeliveryToken::Frame(seq)))
                    .key(record.camera.as_str())
                    .payload(&record.payload);
            let sent = client.send(message);
            let camera = record.camera.clone();
            let Err((error, _)) = sent else {
                state.outbox.sent(&camera, seq);
                continue;
            };
            match client::code(&error) {
                // The queue has room again after the next delivery report.
                RDKafkaErrorCode::QueueFull => break,
                // The next call of `poll` replaces the client.
                RDKafkaErrorCode::Fatal => {
                    state.outbox.hold(now + BACK_OFF);
                    break;
                }
                code => {
                    let key = Some(camera.as_str());
                    if outcome(code) == Outcome::Rejected {
                        state.refusals.refused(RecordKind::Frame, (code, Scope::Record), key, now);
                        state.outbox.refused(&camera, seq);
                    } else {
                        state.refusals.refused(RecordKind::Frame, (code, Scope::Topic), key, now);
                        state.outbox.hold_camera(&camera, now);
                    }
                }
            }
        }
        state.outbox.round_ends();
    }

    fn send_reports(&self, client: &Client, state: &mut State, kind: ReportKind) {
        let record_kind = kind.record_kind();
        let now = Instant::now();
        while let Some(report) = state.reports.next(kind, now) {
            let token = DeliveryToken::of(kind, report.payload.len());
            let message = BaseRecord::with_opaque_to(self.topics.of(record_kind), Box::new(token))
                .key(&report.key)
                .payload(&report.payload);
            match client.send(message) {
                Ok(()) => state.reports.sent(kind),
                Err((error, _)) if client::code(&error) == RDKafkaErrorCode::QueueFull => break,
                Err((error, _)) => {
                    let code = client::code(&error);
                    let is_too_large = outcome(code) == Outcome::Rejected;
                    let scope = if is_too_large { Scope::Record } else { Scope::Topic };
                    state.refusals.refused(record_kind, (code, scope), Some(&report.key), now);
                    // By the time a snapshot could be sent, newer ones exist.
                    if is_too_large || kind == ReportKind::Snapshot {
                        state.reports.refused(kind);
                    } else {
                        state.reports.hold(kind, now + BACK_OFF);
                    }
                }
            }
        }
    }

    fn on_delivery(&self, generation: usize, token: DeliveryToken, result: &DeliveryResult<'_>) {
        let error = result.as_ref().err().map(|(error, _)| client::code(error));
        let mut state = self.state();
        let Some(batch_size) = state.on_delivery(generation) else { return };
        match token {
            DeliveryToken::Frame(seq) => {
                if !self.on_frame_delivery(&mut state, seq, error, batch_size) {
                    return;
                }
            }
            DeliveryToken::Status { bytes } => state.on_report_delivery(ReportKind::Status, bytes, error),
            DeliveryToken::Snapshot { bytes } => state.on_report_delivery(ReportKind::Snapshot, bytes, error),
        }
        self.send(&mut state);
    }

    /// Settles a frame record. Returns false if it is not in flight any more.
    fn on_frame_delivery(
        &self,
        state: &mut State,
        seq: SeqNo,
        error: Option<RDKafkaErrorCode>,
        batch_size: usize,
    ) -> bool {
        let now = Instant::now();
        let Some(record) = state.outbox.in_flight_at(seq) else { return false };
        let outcome = match error {
            None => Outcome::Delivered,
            // The broker rejected the whole batch, in which not every record is too large.
            Some(code) if is_too_large(code) && record.size() < batch_size => {
                state.batch.doubt();
                self.doubt.notify_one();
                Outcome::Retry
            }
            Some(code) => outcome(code),
        };
        let camera = state.outbox.settle(seq, outcome, now);
        let key = camera.as_ref().map(|camera| camera.as_str());
        match (outcome, error) {
            (Outcome::Delivered, _) | (_, None) => state.refusals.accepted(RecordKind::Frame, now),
            (Outcome::Rejected, Some(code)) => {
                state.refusals.refused(RecordKind::Frame, (code, Scope::Record), key, now);
            }
            (Outcome::Retry, Some(code)) if is_own(code) || is_too_large(code) => {}
            (Outcome::Retry, Some(code)) => {
                state.refusals.refused(RecordKind::Frame, (code, Scope::Topic), key, now);
            }
        }
        true
    }

    pub(crate) fn topics_are_ready(&self) {
        let mut state = self.state();
        state.topics_ready = true;
        self.send(&mut state);
    }

    fn notify_if_idle(&self, state: &State) {
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
        self.until(|state| state.is_idle() && state.reports.is_empty(ReportKind::Snapshot)).await;
    }

    async fn until(&self, holds: impl Fn(&State) -> bool) {
        loop {
            let notified = self.idle.notified();
            if holds(&self.state()) {
                return;
            }
            notified.await;
        }
    }

    /// Expires all remaining records, and accepts no more.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.outbox.expire_all(ExpireCause::Shutdown);
        state.reports.clear();
        self.notify_if_idle(&state);
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
            snapshots_lost: state.reports.lost(ReportKind::Snapshot),
        }
    }

    // Each critical section leaves the outbox consistent after each step, so the state behind a poisoned lock is
    // valid.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Settles a status record or a snapshot of `bytes` bytes.
    fn on_report_delivery(&mut self, kind: ReportKind, bytes: usize, error: Option<RDKafkaErrorCode>) {
        let now = Instant::now();
        self.reports.settled(kind, bytes, error.is_none());
        match error {
            None => self.refusals.accepted(kind.record_kind(), now),
            Some(code) if is_own(code) => {}
            Some(code) => {
                let scope = if outcome(code) == Outcome::Rejected { Scope::Record } else { Scope::Topic };
                self.refusals.refused(kind.record_kind(), (code, scope), None, now);
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.outbox.waiting() + self.outbox.in_flight() == 0 && self.reports.is_empty(ReportKind::Status)
    }
}
