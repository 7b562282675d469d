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
//!   [`lookout_config::WhenDisconnected::Stop`] is set: if Kafka is down, nobody else can take over. If only this worker cannot reach
//!   Kafka, another one does, under a higher epoch, and this worker's records are those of a former owner.
//! - **Release**: partitions that are revoked are drained before they are released to the group.

mod assignment;
mod claims;
mod lease_thread;
mod membership;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crossbeam_channel::{Sender, bounded};
use lookout_config::{FleetSettings, KafkaSettings};
use lookout_schema::WorkerId;
use lookout_stage::{FleetEvent, StopOnDrop, stop_signal};
use rdkafka::ClientConfig;
use tokio::sync::mpsc;

use self::{assignment::Assignment, claims::Claims, membership::Membership};
use crate::{
    BrokerError,
    client::{Redactor, Use, client_config},
    credentials::Credentials,
    topics::TopicCreator,
};

/// Capacity of the event queue. A worker that does not take its events blocks the renewal of its lease, and so loses
/// its cameras.
const EVENTS: usize = 64;
/// Capacity of the queue of releases. If it is full, the partition is released at its deadline.
const RELEASES: usize = 16_384;

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
