//! A worker's membership in a fleet: which partitions of the registry the worker owns, and their cameras.
//!
//! Workers form a consumer group on the registry's topic, and Kafka's group protocol assigns the partitions. Three
//! additions ensure that no camera can appear to have two owners:
//!
//! - A **claim** is a record on a topic with one partition. Its offset plus one becomes the epoch of the records that
//!   the new owner publishes, so each owner has a higher epoch than the one before it.
//! - A **lease** expires by this machine's own clock. A worker commits its offsets every heartbeat. If the group
//!   accepts the commit, the lease lasts for the session timeout from the moment of the request, because the group
//!   assigns the cameras to no other worker before that. A worker that was paused therefore notices by itself that it
//!   has lost its cameras. A worker that runs but cannot reach Kafka extends the lease itself, unless
//!   [`WhenDisconnected::Stop`] is set: if Kafka is down, nobody else can take over. If only this worker cannot reach
//!   Kafka, another one does, under a higher epoch, and this worker's records are those of a former owner.
//! - **Release**: partitions that are revoked are drained before they are released to the group.

mod assignment;
mod claims;
mod lease_thread;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use lookout_config::{FleetSettings, KafkaSettings, WhenDisconnected};
use lookout_schema::WorkerId;
use lookout_stage::{BootTime, FleetEvent, Stop, StopOnDrop, stop_signal};
use lookout_wire::decode_registry_record;
use rdkafka::{
    ClientConfig, Message, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};
use tokio::{runtime, sync::mpsc};

use crate::{
    BrokerError,
    client::{Redactor, Use, client_config},
    credentials::Credentials,
    fetching::Fetching,
    group_reader::{GroupContext, Rebalance, StartOffset},
    topics::TopicCreator,
};

use self::{
    assignment::Assignment,
    claims::Claims,
    lease_thread::{Heartbeat, LeaseThread},
};

/// Capacity of the event queue. A worker that does not take its events blocks the renewal of its lease, and so loses
/// its cameras.
const EVENTS: usize = 64;
/// Capacity of the queue of releases. If it is full, the partition is released at its deadline.
const RELEASES: usize = 16_384;
/// Maximum duration of a poll. Messages from the worker and the claims wait until it ends.
const TURN: Duration = Duration::from_millis(20);
/// How long leaving the group waits for the answer to the last commit. If the answer takes longer, the lease thread
/// leaves the group once it has the answer.
const LAST_ANSWER: Duration = Duration::from_secs(1);
/// Revoked partitions are released after this time even if they are not drained, because the other members wait.
const RELEASE_WITHIN: Duration = Duration::from_secs(5);

/// This worker's membership in the fleet. Dropping it leaves the fleet.
pub struct FleetMember {
    stop: Option<StopOnDrop>,
    released: Sender<i32>,
    joined: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FleetMember {
    /// Joins the fleet in the background, so an unreachable broker is not an error here. Topics that do not exist are
    /// created.
    ///
    /// # Errors
    /// librdkafka rejects the settings, or a thread cannot be started.
    pub fn start(
        settings: &KafkaSettings,
        fleet: &FleetSettings,
        worker: &WorkerId,
    ) -> Result<(Self, mpsc::Receiver<FleetEvent>), BrokerError> {
        let redactor = Redactor::new(settings);
        let config = group_config(settings, fleet, worker)?;
        // Finds a wrong setting now, not later in the thread.
        config.create_native_config().map_err(|error| redactor.creation_error(&error))?;
        let (events, receiver) = mpsc::channel(EVENTS);
        let (released, releases) = bounded(RELEASES);
        let (stop, stopped) = stop_signal();
        let joined = Arc::new(AtomicBool::new(false));
        let membership = Membership {
            config,
            credentials: Credentials::new(settings),
            redactor,
            topic: settings.topics.cameras.clone(),
            session_timeout: fleet.session_timeout,
            heartbeat: fleet.heartbeat(),
            when_disconnected: fleet.when_disconnected,
            claims: Claims::new(settings, fleet, worker)?,
            creator: Some(TopicCreator::of_registry(settings, fleet.partitions)?),
            events,
            releases,
            joined: Arc::clone(&joined),
            stopped,
            shares: Assignment::default(),
            leaving: BTreeMap::new(),
            asked: None,
        };
        let builder = thread::Builder::new().name("fleet".into());
        let thread = builder
            .spawn(move || membership.run())
            .map_err(|source| BrokerError::Thread { name: "fleet", source })?;
        Ok((Self { stop: Some(stop), released, joined, thread: Some(thread) }, receiver))
    }

    /// Releases `partition` after the event [`FleetEvent::Leaving`], once no frame or record of its cameras is under
    /// way.
    pub fn release(&self, partition: i32) {
        // If the thread has ended, there is nothing left to release.
        let _ = self.released.try_send(partition);
    }

    /// Returns whether the group has sent this worker its assignment.
    pub fn has_joined(&self) -> bool {
        self.joined.load(SeqCst)
    }
}

impl Drop for FleetMember {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has already logged it.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for FleetMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetMember").field("joined", &self.has_joined()).finish_non_exhaustive()
    }
}

fn group_config(
    settings: &KafkaSettings,
    fleet: &FleetSettings,
    worker: &WorkerId,
) -> Result<ClientConfig, BrokerError> {
    let mut config = client_config(settings, Use::Consume)?;
    // Longer than a release takes, and never shorter than the session timeout.
    let poll_within = fleet.session_timeout.max(Duration::from_secs(60));
    config
        .set("group.id", &settings.topics.cameras)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", fleet.session_timeout.as_millis().to_string())
        .set("heartbeat.interval.ms", fleet.heartbeat().as_millis().to_string())
        .set("max.poll.interval.ms", poll_within.as_millis().to_string())
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "100")
        .set("allow.auto.create.topics", "false")
        // Finds a topic that was just created soon.
        .set("topic.metadata.refresh.interval.ms", "5000");
    if settings.client.iter().all(|(key, _)| key != "socket.timeout.ms") {
        // A commit whose answer is lost is retried while it can still renew the lease.
        let patience = fleet.session_timeout.clamp(Duration::from_secs(3), Duration::from_secs(60));
        config.set("socket.timeout.ms", patience.as_millis().to_string());
    }
    if fleet.static_member {
        config.set("group.instance.id", worker.as_str());
    }
    Ok(config)
}

/// The state of the membership thread.
struct Membership {
    config: ClientConfig,
    credentials: Credentials,
    redactor: Redactor,
    topic: String,
    session_timeout: Duration,
    heartbeat: Duration,
    when_disconnected: WhenDisconnected,
    claims: Claims,
    creator: Option<TopicCreator>,
    events: mpsc::Sender<FleetEvent>,
    releases: Receiver<i32>,
    joined: Arc<AtomicBool>,
    stopped: Stop,
    shares: Assignment,
    /// Revoked partitions, with the deadline of their release.
    leaving: BTreeMap<i32, Instant>,
    /// When the last commit was requested.
    asked: Option<BootTime>,
}

type Group = BaseConsumer<GroupContext>;

impl Membership {
    fn run(mut self) {
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
