//! A consumer group on the frames topic, whose members each read some of its partitions.

mod context;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Instant,
};

use lookout_config::KafkaSettings;
use lookout_schema::RecordKind;
use lookout_wire::RecordWithOffset;
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{CommitMode, Consumer, StreamConsumer},
    error::{KafkaError, RDKafkaErrorCode},
};
use tokio::task;

pub(crate) use self::context::{GroupContext, Rebalance, StartOffset};
use crate::{
    BrokerError,
    client::{Redactor, Use, client_config, code, with_known},
    credentials::Credentials,
    fetching::Fetching,
    reader::read,
};

/// An event for a member of the group.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupEvent {
    /// The next record of an assigned partition.
    Record(RecordWithOffset),
    /// These partitions are released to another member at the next call of [`GroupReader::next`].
    Lost(Vec<i32>),
}

/// A member of a consumer group that reads frame records. It starts at the group's committed offsets; a new group
/// starts at the end of the topic. Dropping it leaves the group.
pub struct GroupReader {
    consumer: Arc<StreamConsumer<GroupContext>>,
    /// The configuration of `consumer`, and of a client that replaces it.
    config: ClientConfig,
    credentials: Credentials,
    redactor: Redactor,
    topic: String,
    joined_at: Instant,
    /// The partitions that this member reads, and since when.
    assigned: BTreeMap<i32, Instant>,
    /// Revoked partitions that were reported as lost and still have to be released.
    leaving: Vec<i32>,
    /// The last record that was returned. It counts as processed when the next one is requested.
    given: Option<(i32, i64)>,
    lost: u64,
    /// The topic was recreated: the first record of each partition that is assigned next is the topic's first.
    is_recreated: bool,
    /// Partitions whose next record is the first of a topic that was recreated.
    offsets_restart: BTreeSet<i32>,
    /// The problem that was logged last.
    trouble: Option<String>,
}

/// Joins the group that `config` names.
fn connect(
    config: &ClientConfig,
    credentials: &Credentials,
    redactor: &Redactor,
    topic: &str,
    start_offset: StartOffset,
) -> Result<Arc<StreamConsumer<GroupContext>>, BrokerError> {
    let mut config = config.clone();
    credentials.renew(&mut config);
    let fetching = Fetching::new(redactor.clone(), &config);
    Fetching::configure(&mut config);
    let consumer: StreamConsumer<GroupContext> = config
        .create_with_context(GroupContext::new(fetching, start_offset))
        .map_err(|error| redactor.creation_error(&error))?;
    let failed = |error: KafkaError| BrokerError::Read { topic: topic.to_owned(), reason: error.to_string() };
    consumer.subscribe(&[topic]).map_err(failed)?;
    let consumer = Arc::new(consumer);
    credentials.follow(&consumer, |consumer| consumer.client().native_ptr());
    Ok(consumer)
}

impl GroupReader {
    /// Joins `group` in the background: unreachable brokers, or a topic that does not exist yet, are not an error
    /// here. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// librdkafka rejects the settings.
    pub fn join(settings: &KafkaSettings, group: &str) -> Result<Self, BrokerError> {
        let redactor = Redactor::new(settings);
        let topic = settings.topics.of(RecordKind::Frame).to_owned();
        let mut config = client_config(settings, Use::Consume)?;
        config
            .set("group.id", group)
            // A new member takes over only some partitions, and reading of the others continues.
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", "10000")
            .set("heartbeat.interval.ms", "2000")
            .set("auto.offset.reset", "latest")
            // Offsets are stored by `next` after a record was processed, and committed within a second and before a
            // partition is released.
            .set("enable.auto.offset.store", "false")
            .set("enable.auto.commit", "true")
            .set("auto.commit.interval.ms", "1000")
            .set("allow.auto.create.topics", "false")
            .set("fetch.wait.max.ms", "100");
        let credentials = Credentials::new(settings);
        let consumer = connect(&config, &credentials, &redactor, &topic, StartOffset::Committed)?;
        Ok(Self {
            consumer,
            config,
            credentials,
            redactor,
            topic,
            joined_at: Instant::now(),
            assigned: BTreeMap::new(),
            leaving: Vec::new(),
            given: None,
            lost: 0,
            is_recreated: false,
            offsets_restart: BTreeSet::new(),
            trouble: None,
        })
    }

    /// Returns the next record or rebalance event. The call marks the previous record as processed, so that a later
    /// owner of its partition does not read it again. The future is cancel safe: dropping it loses nothing.
    ///
    /// # Errors
    /// The client failed permanently and has to be replaced. Unreachable brokers, and brokers that deny access, are
    /// not an error: the reader retries.
    pub async fn next(&mut self) -> Result<GroupEvent, BrokerError> {
        self.done();
        self.release_revoked()?;
        loop {
            if let Some(event) = self.start_over()? {
                return Ok(event);
            }
            if let Some(event) = self.next_rebalance() {
                return Ok(event);
            }
            let message = tokio::select! {
                biased;
                () = self.consumer.context().news() => continue,
                message = self.consumer.recv() => message,
            };
            match message {
                // The new client reads this record again.
                Ok(_) if self.consumer.context().fetching().is_recreated(&self.topic) => {}
                Ok(message) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    let (kind, record) = (RecordKind::Frame, read(&message, RecordKind::Frame));
                    let reset = self.consumer.context().fetching().take_reset(&self.topic, partition);
                    if let Some(from) = reset.filter(|from| *from < offset) {
                        let records = (offset - from).unsigned_abs();
                        self.lost += records;
                        let topic = &self.topic;
                        tracing::warn!(
                            topic,
                            partition,
                            records,
                            "records were deleted before they were read"
                        );
                    }
                    self.given = Some((partition, offset));
                    let offsets_restart = self.offsets_restart.remove(&partition);
                    return Ok(GroupEvent::Record(RecordWithOffset {
                        kind,
                        partition,
                        offset,
                        offsets_restart,
                        record,
                    }));
                }
                Err(error) => {
                    let code = code(&error);
                    if code == RDKafkaErrorCode::Fatal {
                        return Err(self.failed(&error));
                    }
                    self.consumer.context().fetching().error(code, &code.to_string());
                }
            }
        }
    }

    /// Returns what cannot be read at `now`; `None` if this member reads all its partitions. Changes are logged.
    pub fn trouble(&mut self, now: Instant) -> Option<&str> {
        let fetching = self.consumer.context().fetching();
        let trouble = if fetching.is_stale(self.joined_at, now) {
            Some("the Kafka client reports no statistics; the state of reading is unknown".to_owned())
        } else {
            let partition =
                |(partition, since): (&i32, &Instant)| fetching.trouble(&self.topic, *partition, *since, now);
            let group = fetching.group_trouble(now);
            let refusal = || fetching.refusal().filter(|_| self.assigned.is_empty());
            let refused =
                || refusal().map(|(_, reason)| format!("`{}` cannot be read: {reason}", self.topic));
            let reading = self.assigned.iter().find_map(partition);
            group.or(reading).or_else(refused).or_else(|| fetching.undecodable(now))
        };
        match (&self.trouble, &trouble) {
            (None, Some(reason)) => {
                tracing::warn!(reason, "records cannot be read, the consumer retries");
            }
            (Some(_), None) => tracing::info!(topic = self.topic, "records are read again"),
            _ => {}
        }
        if trouble.is_none() && !self.assigned.is_empty() {
            fetching.recovered();
        }
        self.trouble = trouble;
        self.trouble.as_deref()
    }

    /// Returns the number of records that were deleted, by retention or otherwise, before they were read.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Replaces the client if the topic was recreated, so that the topic is read from its beginning. Returns the
    /// partitions that this member owned until then.
    ///
    /// The new client rejoins the group. [`crate::RecordReader`] documents why a new client is needed.
    fn start_over(&mut self) -> Result<Option<GroupEvent>, BrokerError> {
        if !self.consumer.context().fetching().take_recreated().contains(&self.topic) {
            return Ok(None);
        }
        tracing::warn!(topic = self.topic, "the topic was recreated, it is read from its beginning");
        // The committed offsets belong to the deleted topic.
        self.given = None;
        let mut first = TopicPartitionList::new();
        for partition in self.assigned.keys() {
            let added = first.add_partition_offset(&self.topic, *partition, Offset::Offset(0));
            added.map_err(|error| self.failed(&error))?;
        }
        if first.count() > 0 {
            let done = self.consumer.incremental_unassign(&first);
            done.and_then(|()| self.consumer.commit(&first, CommitMode::Async))
                .map_err(|error| self.failed(&error))?;
        }
        self.consumer.context().close();
        let config = with_known(&self.config, &self.consumer.context().fetching().brokers());
        let consumer =
            connect(&config, &self.credentials, &self.redactor, &self.topic, StartOffset::Recreated)?;
        let before = std::mem::replace(&mut self.consumer, consumer);
        // Closing the client waits for the brokers.
        task::spawn_blocking(move || drop(before));
        self.joined_at = Instant::now();
        self.is_recreated = true;
        self.leaving.clear();
        self.offsets_restart.clear();
        let lost: Vec<i32> = std::mem::take(&mut self.assigned).into_keys().collect();
        Ok((!lost.is_empty()).then_some(GroupEvent::Lost(lost)))
    }

    /// Returns the partitions that this member reads.
    pub fn partitions(&self) -> impl ExactSizeIterator<Item = i32> {
        self.assigned.keys().copied()
    }

    /// Handles the group's events, and returns the lost partitions that the caller has to know.
    fn next_rebalance(&mut self) -> Option<GroupEvent> {
        let mut lost = Vec::new();
        for rebalance in self.consumer.context().take() {
            match rebalance {
                Rebalance::Assigned(partitions) => {
                    tracing::info!(?partitions, topic = self.topic, "partitions assigned");
                    let now = Instant::now();
                    if self.is_recreated {
                        self.offsets_restart.extend(&partitions);
                    }
                    self.assigned.extend(partitions.into_iter().map(|partition| (partition, now)));
                    self.consumer.context().fetching().recovered();
                }
                Rebalance::Revoked(partitions) => {
                    tracing::info!(?partitions, topic = self.topic, "partitions revoked");
                    self.leaving.extend(&partitions);
                    lost.extend(partitions);
                }
                Rebalance::Lost(partitions) => {
                    tracing::warn!(?partitions, topic = self.topic, "partitions lost without notice");
                    lost.extend(partitions);
                }
            }
        }
        self.assigned.retain(|partition, _| !lost.contains(partition));
        (!lost.is_empty()).then_some(GroupEvent::Lost(lost))
    }

    fn done(&mut self) {
        if let Some((partition, offset)) = self.given.take()
            // If this member no longer owns the partition, its new owner reads the record again.
            && let Err(error) = self.consumer.store_offset(&self.topic, partition, offset)
        {
            tracing::debug!(code = ?code(&error), partition, "an offset could not be stored");
        }
    }

    /// Releases partitions that the caller knows to be lost. The group waits for the release.
    fn release_revoked(&mut self) -> Result<(), BrokerError> {
        if self.leaving.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        for partition in self.leaving.drain(..) {
            list.add_partition(&self.topic, partition);
        }
        self.consumer.incremental_unassign(&list).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &KafkaError) -> BrokerError {
        BrokerError::Read { topic: self.topic.clone(), reason: code(error).to_string() }
    }
}

impl Drop for GroupReader {
    fn drop(&mut self) {
        // The last record was processed, because its reader is dropped. Closing the client commits its offset.
        self.done();
        self.consumer.context().close();
    }
}

impl fmt::Debug for GroupReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupReader").field("assigned", &self.assigned).finish_non_exhaustive()
    }
}
