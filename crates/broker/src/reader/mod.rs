//! Reads records back: for `lookout tail`, for consumers that store their own offsets, and for tests.

mod context;
mod follow;
mod health;
mod metadata_query;
mod offsets;
mod options;
mod spans;
mod start;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use lookout_config::KafkaSettings;
use lookout_schema::{CameraId, RecordKind, Topics, shortened};
use lookout_wire::{Offsets, ReadRecord, RecordWithOffset, TopicIds, decode_message};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{Consumer, StreamConsumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::BorrowedMessage,
};
use tokio::task::JoinHandle;

use self::{
    context::ReadContext,
    health::MetadataState,
    metadata_query::{Found, Waiting, found},
};
pub use self::{
    health::ReadProblem,
    options::{OnMissingTopic, ReadFrom, ReaderOptions, Refused},
};
use crate::{
    BrokerError,
    client::{Redactor, Use, client_config, code, is_denied, servers},
    credentials::Credentials,
    fetching::Fetching,
    recording::{Recorded, recorded},
};

/// Reads topics without a consumer group. Records of one camera and kind arrive in order; the order across cameras is
/// not defined.
pub struct RecordReader {
    consumer: Arc<Consuming>,
    /// The configuration of `consumer`, and of a client that replaces it.
    config: ClientConfig,
    credentials: Credentials,
    redactor: Redactor,
    options: ReaderOptions,
    topics: Topics,
    brokers: String,
    /// The partitions that are read.
    assigned: BTreeMap<(RecordKind, i32), Assigned>,
    /// The end offset of each partition that is not yet read to its end; `None` if the reader does not stop at the
    /// end.
    ends: Option<Offsets>,
    /// If the reader stops at the end: the topics that remain, with their start offsets. The first one is being read.
    later: VecDeque<(RecordKind, TopicPartitionList)>,
    /// The task that queries the brokers for new topics and partitions.
    metadata_query: Option<JoinHandle<Found>>,
    metadata: MetadataState,
    waiting: Waiting,
    /// The ids of the topics, as of the start of reading.
    ids: TopicIds,
    /// The number of records that were deleted before they were read.
    lost: BTreeMap<RecordKind, u64>,
}

/// A partition that is read.
#[derive(Debug)]
struct Assigned {
    since: Instant,
    /// The offset at which reading started.
    from: Offset,
    /// The offset of the next record, once one was read.
    next: Option<i64>,
    /// [`RecordWithOffset::offsets_restart`] of the next record.
    offsets_restart: bool,
}

type Consuming = StreamConsumer<ReadContext>;

const TRY_AGAIN: Duration = Duration::from_millis(500);

fn connect(
    config: &ClientConfig,
    credentials: &Credentials,
    redactor: &Redactor,
) -> Result<Arc<Consuming>, BrokerError> {
    let mut config = config.clone();
    credentials.renew(&mut config);
    let fetching = Fetching::new(redactor.clone(), &config);
    Fetching::configure(&mut config);
    let consumer: Consuming = config
        .create_with_context(ReadContext { fetching })
        .map_err(|error| redactor.creation_error(&error))?;
    let consumer = Arc::new(consumer);
    credentials.follow(&consumer, |consumer| consumer.client().native_ptr());
    Ok(consumer)
}

impl RecordReader {
    /// Opens the topics for reading.
    ///
    /// # Errors
    /// Settings that librdkafka rejects; no broker answers within 10 s; a topic does not exist, if the reader is to
    /// stop at the end and `missing` is not [`OnMissingTopic::Follow`]; the brokers deny access, if `refused` is
    /// [`Refused::Fail`].
    pub async fn open(settings: &KafkaSettings, options: &ReaderOptions) -> Result<Self, BrokerError> {
        let redactor = Redactor::new(settings);
        let mut config = client_config(settings, Use::Consume)?;
        // librdkafka's Rust binding reports the end of a partition without its topic. With `until_end`, the topics
        // are therefore read one after the other.
        let at_ends = if options.until_end { "true" } else { "false" };
        config
            // librdkafka requires a group id, but a reader joins no group and commits no offsets.
            .set("group.id", "lookout-reader")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", at_ends)
            .set("auto.offset.reset", "earliest");
        let credentials = Credentials::new(settings);
        let mut reader = Self {
            consumer: connect(&config, &credentials, &redactor)?,
            config,
            credentials,
            redactor,
            options: options.clone(),
            topics: settings.topics.clone(),
            brokers: servers(settings)?.to_owned(),
            assigned: BTreeMap::new(),
            ends: options.until_end.then(BTreeMap::new),
            later: VecDeque::new(),
            metadata_query: None,
            metadata: MetadataState::new(Instant::now()),
            waiting: Waiting::default(),
            ids: TopicIds::new(),
            lost: BTreeMap::new(),
        };
        // The client logs the topic's id only when it reads the topic.
        if let ReadFrom::Offsets(_, ids) = &options.from {
            for (kind, id) in ids {
                reader.fetching().expect_topic_id(reader.topics.of(*kind), id);
            }
        }
        // All partitions are assigned together, after all queries: a broker does not answer other requests of a
        // client while its fetch waits for records.
        let mut start = TopicPartitionList::new();
        for kind in &options.kinds {
            reader.add_start_offsets(*kind, &mut start).await?;
            if options.until_end {
                reader.later.push_back((*kind, std::mem::take(&mut start)));
            }
        }
        // Frames and snapshots, the bulk of the data, are read last. A caller that sorts by time ([`crate::Merge`])
        // then has the other records first.
        let is_large = |kind: RecordKind| matches!(kind, RecordKind::Frame | RecordKind::Snapshot);
        reader.later.make_contiguous().sort_by_key(|(kind, _)| is_large(*kind));
        reader.consumer.assign(&start).map_err(|error| reader.failed(&error))?;
        reader.query_metadata(false);
        Ok(reader)
    }

    fn failed(&self, error: &KafkaError) -> BrokerError {
        BrokerError::Read { topic: self.names(), reason: format!("{error} ({})", self.brokers) }
    }

    fn refused(&self, topic: &str, code: RDKafkaErrorCode) -> BrokerError {
        BrokerError::Refused { topic: topic.to_owned(), reason: code.to_string() }
    }

    fn fetching(&self) -> &Fetching {
        &self.consumer.context().fetching
    }

    /// Returns the names of the topics that are read.
    fn names(&self) -> String {
        let names: Vec<_> = self.options.kinds.iter().map(|kind| self.topics.of(*kind)).collect();
        names.join(", ")
    }

    fn kind_of(&self, topic: &str) -> Option<RecordKind> {
        self.options.kinds.iter().copied().find(|kind| self.topics.of(*kind) == topic)
    }

    /// Returns the next record; `None` at the end. The future is cancel safe: dropping it loses no record.
    ///
    /// # Errors
    /// The brokers deny access, if `refused` is [`Refused::Fail`] and nothing was read yet; or the client failed
    /// permanently. Unreachable brokers are not an error: the reader waits for them.
    pub async fn next(&mut self) -> Result<Option<ReadRecord>, BrokerError> {
        Ok(self.next_with_offset().await?.map(|placed| placed.record))
    }

    /// Returns the next record with its offset; otherwise like [`Self::next`].
    ///
    /// # Errors
    /// See [`Self::next`].
    pub async fn next_with_offset(&mut self) -> Result<Option<RecordWithOffset>, BrokerError> {
        self.next_as(placed).await
    }

    /// Returns the next record like [`Self::next_with_offset`], and its original message.
    ///
    /// # Errors
    /// See [`Self::next`].
    pub async fn next_recorded(&mut self) -> Result<Option<(RecordWithOffset, Recorded)>, BrokerError> {
        self.next_as(|message, kind, offsets_restart| {
            (placed(message, kind, offsets_restart), recorded(message, kind))
        })
        .await
    }

    /// Returns the number of partitions that are read, by record kind.
    pub fn partitions(&self) -> BTreeMap<RecordKind, u16> {
        let mut counts = BTreeMap::new();
        self.assigned.keys().for_each(|(kind, _)| *counts.entry(*kind).or_default() += 1);
        counts
    }

    /// Returns the ids of the topics that are read, if the brokers have topic ids. They are to be stored with the
    /// offsets.
    pub fn topic_ids(&self) -> &TopicIds {
        &self.ids
    }

    /// Returns the number of records that were deleted, by retention or otherwise, before they were read.
    pub fn lost(&self) -> &BTreeMap<RecordKind, u64> {
        &self.lost
    }

    async fn next_as<T>(
        &mut self,
        take: fn(&BorrowedMessage<'_>, RecordKind, bool) -> T,
    ) -> Result<Option<T>, BrokerError> {
        loop {
            self.start_over()?;
            if !self.read_on()? {
                return Ok(None);
            }
            // The message borrows the consumer. A clone of the `Arc` keeps `self` free for changes.
            let consumer = Arc::clone(&self.consumer);
            let message = tokio::select! {
                message = consumer.recv() => message,
                found = found(&mut self.metadata_query) => {
                    self.metadata_query = None;
                    self.follow(found)?;
                    continue;
                }
            };
            let message = match message {
                Ok(message) => message,
                Err(error) => {
                    self.failed_to_read(&error)?;
                    continue;
                }
            };
            let Some(kind) = self.kind_of(message.topic()) else { continue };
            // The new client reads this record again.
            if self.ends.is_none() && self.fetching().is_recreated(message.topic()) {
                continue;
            }
            let Some(offsets_restart) = self.take_place(kind, message.partition(), message.offset()) else {
                continue;
            };
            let others = |camera: &CameraId| message.key() != Some(camera.as_str().as_bytes());
            if self.options.camera.as_ref().is_some_and(others) {
                continue;
            }
            return Ok(Some(take(&message, kind, offsets_restart)));
        }
    }

    fn failed_to_read(&mut self, error: &KafkaError) -> Result<(), BrokerError> {
        if let KafkaError::PartitionEOF(partition) = error {
            // This is the end of the readable records. The last offsets may be transaction markers, which are not
            // records.
            if let (Some(ends), Some((kind, _))) = (&mut self.ends, self.later.front()) {
                ends.remove(&(*kind, *partition));
            }
            return Ok(());
        }
        let code = code(error);
        // A reader does not join a group, but librdkafka looks up the coordinator of the `group.id` that it requires.
        if code == RDKafkaErrorCode::GroupAuthorizationFailed {
            return Ok(());
        }
        self.fetching().error(code, &code.to_string());
        let is_final = code == RDKafkaErrorCode::Fatal
            || (is_denied(code) && self.options.refused == Refused::Fail && !self.has_read());
        if is_final { Err(self.refused(&self.names(), code)) } else { Ok(()) }
    }

    /// Returns whether any record was read, or any partition was fetched.
    fn has_read(&self) -> bool {
        self.fetching().has_fetched() || self.assigned.values().any(|assigned| assigned.next.is_some())
    }

    /// With `until_end`, switches to the next topic if the current one was read to its end. Returns false at the end
    /// of the last topic.
    fn read_on(&mut self) -> Result<bool, BrokerError> {
        let Some(ends) = &self.ends else { return Ok(true) };
        while let Some((kind, start)) = self.later.front_mut() {
            if ends.keys().all(|(other, _)| other != kind) {
                self.later.pop_front();
                continue;
            }
            if start.count() > 0 {
                let start = std::mem::take(start);
                let now = Instant::now();
                let of_it = self.assigned.iter_mut().filter(|((of, _), _)| of == kind);
                of_it.for_each(|(_, assigned)| assigned.since = now);
                self.consumer.assign(&start).map_err(|error| self.failed(&error))?;
            }
            return Ok(true);
        }
        Ok(false)
    }
}

impl Drop for RecordReader {
    fn drop(&mut self) {
        if let Some(metadata_query) = &self.metadata_query {
            metadata_query.abort();
        }
    }
}

fn placed(message: &BorrowedMessage<'_>, kind: RecordKind, offsets_restart: bool) -> RecordWithOffset {
    let record = read(message, kind);
    RecordWithOffset {
        kind,
        partition: message.partition(),
        offset: message.offset(),
        offsets_restart,
        record,
    }
}

pub(crate) fn read(message: &BorrowedMessage<'_>, kind: RecordKind) -> ReadRecord {
    let key = message.key().unwrap_or_default();
    decode_message(key, message.payload(), kind).unwrap_or_else(|reason| ReadRecord::Unreadable {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        reason: shortened(&reason),
    })
}

impl fmt::Debug for RecordReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordReader").field("kinds", &self.options.kinds).finish_non_exhaustive()
    }
}
