//! The thread that is a member of the fleet's consumer group.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::Receiver;
use lookout_config::WhenDisconnected;
use lookout_stage::{BootTime, FleetEvent, Stop};
use lookout_wire::decode_registry_record;
use rdkafka::{
    ClientConfig, Message, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};
use tokio::{runtime, sync::mpsc};

use super::{
    assignment::Assignment,
    claims::Claims,
    lease_thread::{Heartbeat, LeaseThread},
};
use crate::{
    client::Redactor,
    credentials::Credentials,
    fetching::Fetching,
    group_reader::{GroupContext, Rebalance, StartOffset},
    topics::TopicCreator,
};

/// Maximum duration of a poll. Messages from the worker and the claims wait until it ends.
const TURN: Duration = Duration::from_millis(20);
/// How long leaving the group waits for the answer to the last commit. If the answer takes longer, the lease thread
/// leaves the group once it has the answer.
const LAST_ANSWER: Duration = Duration::from_secs(1);
/// Revoked partitions are released after this time even if they are not drained, because the other members wait.
const RELEASE_WITHIN: Duration = Duration::from_secs(5);

/// The state of the membership thread.
pub(super) struct Membership {
    pub(super) config: ClientConfig,
    pub(super) credentials: Credentials,
    pub(super) redactor: Redactor,
    pub(super) topic: String,
    pub(super) session_timeout: Duration,
    pub(super) heartbeat: Duration,
    pub(super) when_disconnected: WhenDisconnected,
    pub(super) claims: Claims,
    pub(super) creator: Option<TopicCreator>,
    pub(super) events: mpsc::Sender<FleetEvent>,
    pub(super) releases: Receiver<i32>,
    pub(super) joined: Arc<AtomicBool>,
    pub(super) stopped: Stop,
    pub(super) shares: Assignment,
    /// Revoked partitions, with the deadline of their release.
    pub(super) leaving: BTreeMap<i32, Instant>,
    /// When the last commit was requested.
    pub(super) asked: Option<BootTime>,
}

type Group = BaseConsumer<GroupContext>;

impl Membership {
    pub(super) fn run(mut self) {
        self.create_topics();
        let group: Group = match self.config.create_with_context(GroupContext::new(
            Fetching::new(self.redactor.clone(), &self.config),
            StartOffset::First,
        )) {
            Ok(group) => group,
            Err(error) => {
                return self
                    .send(FleetEvent::Failed { reason: self.redactor.creation_error(&error).to_string() });
            }
        };
        if let Err(error) = group.subscribe(&[&self.topic]) {
            return self.send(FleetEvent::Failed { reason: error.to_string() });
        }
        let group = Arc::new(group);
        self.credentials.follow(&group, |group: &Group| group.client().native_ptr());
        let lease = match LeaseThread::start(Arc::clone(&group), self.topic.clone()) {
            Ok(lease) => lease,
            Err(error) => return self.send(FleetEvent::Failed { reason: error.to_string() }),
        };
        while !self.stopped.is_stopped() {
            self.turn(&group, &lease);
            if let Some((code, reason)) = group.client().fatal_error() {
                let reason = format!("{code:?}: {}", self.redactor.redact(&reason));
                self.forget(&self.shares.partitions());
                return self.send(FleetEvent::Failed { reason });
            }
        }
        self.forget(&self.shares.partitions());
        // Dropping it leaves the group; a static member remains in the group until its session timeout.
        group.context().close();
        drop(lease);
        let deadline = Instant::now() + LAST_ANSWER;
        while Arc::strong_count(&group) > 1 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn create_topics(&mut self) {
        let Some(creator) = self.creator.take() else { return };
        let runtime = match runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime,
            Err(error) => return tracing::warn!(%error, "the registry's topics could not be created"),
        };
        let stopped = self.stopped.clone();
        runtime.block_on(async {
            let until_stopped = async {
                while !stopped.is_stopped() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            };
            tokio::select! {
                _ = creator.run() => {}
                () = until_stopped => {}
            }
        });
    }

    fn turn(&mut self, group: &Group, lease: &LeaseThread) {
        match group.poll(TURN) {
            Some(Ok(message)) => {
                let key = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
                let record = decode_registry_record(&key, message.payload());
                let event = self.shares.record(message.partition(), message.offset(), key, record);
                self.send_all(event);
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => self.shares.read(partition),
            Some(Err(error)) => {
                tracing::debug!(%error, "the registry could not be read, the read is retried");
            }
            None => {}
        }
        // Check the lease before handling the group's events, because this worker may have been paused after they
        // arrived.
        let now = BootTime::now();
        let expired = self.shares.expire(now);
        if !expired.is_empty() {
            tracing::warn!(
                "the lease expired because the fleet's consumer group did not confirm this worker in time, \
                 the fleet's cameras are stopped"
            );
        }
        self.send_all(expired);
        if self.when_disconnected == WhenDisconnected::Keep {
            // Earlier than the client gives up its partitions, one session timeout after the last heartbeat.
            let margin = self.heartbeat * 2;
            if self.shares.keep_offline(now, margin, now + self.session_timeout / 2) {
                tracing::warn!(
                    "the fleet's consumer group does not confirm this worker, its cameras run until the group answers"
                );
            }
        }
        for rebalance in group.context().take() {
            self.handle_rebalance(group, rebalance);
        }
        for confirmed in lease.answers.try_iter() {
            let until = confirmed.asked + self.session_timeout;
            let gained = self.shares.renew(confirmed.asked, until);
            self.send_all(gained);
        }
        for answer in self.claims.answers.try_iter() {
            self.shares.claimed(answer.partition, answer.epoch, BootTime::now());
        }
        for partition in self.shares.due() {
            self.claims.send(partition);
        }
        self.release_revoked(group);
        self.ask(lease);
    }

    fn handle_rebalance(&mut self, group: &Group, rebalance: Rebalance) {
        match rebalance {
            Rebalance::Assigned(partitions) => {
                self.joined.store(true, SeqCst);
                if !partitions.is_empty() {
                    tracing::info!(?partitions, "registry partitions assigned to this worker");
                }
                partitions.into_iter().for_each(|partition| self.shares.assign(partition));
                let lost = self.shares.end_reassigned();
                self.send_all(lost);
                self.asked = None;
            }
            Rebalance::Revoked(partitions) => {
                tracing::info!(?partitions, "registry partitions of this worker revoked");
                let deadline = Instant::now() + RELEASE_WITHIN;
                for partition in partitions {
                    match self.shares.leave(partition) {
                        Some(event) => {
                            self.leaving.insert(partition, deadline);
                            self.send(event);
                        }
                        None => {
                            self.leaving.insert(partition, Instant::now());
                        }
                    }
                }
                self.release_revoked(group);
            }
            Rebalance::Lost(partitions) => {
                tracing::warn!(?partitions, "registry partitions of this worker lost without notice");
                self.leaving.retain(|partition, _| !partitions.contains(partition));
                let lost: Vec<_> =
                    partitions.iter().filter_map(|partition| self.shares.lose(*partition)).collect();
                self.send_all(lost);
            }
        }
    }

    /// Releases the revoked partitions together, once all of them are drained or at their deadline: the group waits
    /// for all.
    fn release_revoked(&mut self, group: &Group) {
        for partition in self.releases.try_iter() {
            if let Some(deadline) = self.leaving.get_mut(&partition) {
                *deadline = Instant::now();
            }
        }
        let now = Instant::now();
        if self.leaving.is_empty() || self.leaving.values().any(|deadline| *deadline > now) {
            return;
        }
        let partitions: Vec<i32> = std::mem::take(&mut self.leaving).into_keys().collect();
        self.forget(&partitions);
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&self.topic, partition);
        }
        if let Err(error) = group.incremental_unassign(&list) {
            tracing::error!(%error, "revoked registry partitions could not be released");
        }
    }

    /// Requests a commit, by which the group confirms the membership: every heartbeat, and sooner if a claim waits
    /// for the answer.
    fn ask(&mut self, lease: &LeaseThread) {
        if self.shares.is_empty() {
            return;
        }
        let now = BootTime::now();
        let wait = if self.shares.waits() { TURN * 2 } else { self.heartbeat };
        if self.asked.is_some_and(|asked| now.saturating_since(asked) < wait) {
            return;
        }
        let question = Heartbeat { asked: now, positions: self.shares.positions().collect() };
        if lease.questions.try_send(question).is_ok() {
            self.asked = Some(now);
        }
    }

    fn forget(&mut self, partitions: &[i32]) {
        let lost: Vec<_> = partitions.iter().filter_map(|partition| self.shares.forget(*partition)).collect();
        self.send_all(lost);
    }

    fn send_all(&self, events: impl IntoIterator<Item = FleetEvent>) {
        events.into_iter().for_each(|event| self.send(event));
    }

    fn send(&self, event: FleetEvent) {
        // A worker that is shutting down no longer receives events.
        let _ = self.events.blocking_send(event);
    }
}
