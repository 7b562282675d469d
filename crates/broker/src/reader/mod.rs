//! Reads the records back: for `lookout tail`, for consumers that keep their own place, and for tests.

mod options;
mod spans;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    future::pending,
    sync::Arc,
    time::Duration,
};

use lookout_config::KafkaSettings;
use lookout_schema::{CameraId, RecordKind, Topics};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{Consumer, StreamConsumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::BorrowedMessage,
};
use tokio::{
    task::{self, JoinHandle},
    time::sleep,
};

pub use self::options::{Missing, Places, ReadFrom, ReaderOptions};
use self::spans::{Span, partitions, spans};
use crate::{
    BrokerError,
    client::{Redactor, Use, client_config, code, is_denied, servers},
    context::QuietContext,
    record::{ReadRecord, decode},
    recording::{Recorded, recorded},
};

/// A record, and where it lies.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    pub kind: RecordKind,
    pub partition: i32,
    pub offset: i64,
    pub record: ReadRecord,
}

/// Reads topics. The records of one camera and kind come in their order; those of different cameras in any.
pub struct RecordReader {
    consumer: Arc<Consuming>,
    options: ReaderOptions,
    topics: Topics,
    brokers: String,
    /// What is read.
    assigned: BTreeSet<(RecordKind, i32)>,
    /// Where the reader stops, for each partition that it has not read so far.
    ends: Option<Places>,
    /// Looks for new topics and partitions, where those are followed.
    look: Option<JoinHandle<Found>>,
}

/// The partitions that there are.
type Found = Vec<(RecordKind, Vec<i32>)>;

type Consuming = StreamConsumer<QuietContext>;

const TRY_AGAIN: Duration = Duration::from_millis(500);
/// How often [`Missing::Follow`] looks for new topics and partitions.
const LOOK_EVERY: Duration = Duration::from_secs(2);

impl RecordReader {
    /// Opens the topics.
    ///
    /// # Errors
    /// Settings that librdkafka refuses; no broker that answers within 10 s; no such topic, where the reader is to
    /// stop at the end and does not follow.
    pub async fn open(settings: &KafkaSettings, options: &ReaderOptions) -> Result<Self, BrokerError> {
        let redactor = Redactor::new(settings);
        let context = QuietContext::new(redactor.clone());
        let consumer: Consuming = client_config(settings, Use::Consume)?
            // librdkafka wants one to be named, but a reader joins no group and commits nothing.
            .set("group.id", "lookout-reader")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .create_with_context(context)
            .map_err(|error| redactor.creation_error(&error))?;
        let mut reader = Self {
            consumer: Arc::new(consumer),
            options: options.clone(),
            topics: settings.topics.clone(),
            brokers: servers(settings)?.to_owned(),
            assigned: BTreeSet::new(),
            ends: options.until_end.then(BTreeMap::new),
            look: None,
        };
        // Assigned at once: a broker answers no question of a client whose fetch waits for records.
        let mut start = TopicPartitionList::new();
        for kind in &options.kinds {
            reader.begin(*kind, &mut start).await?;
        }
        reader.consumer.assign(&start).map_err(|error| reader.failed(&error))?;
        if options.missing == Missing::Follow {
            reader.look = Some(reader.look_later());
        }
        Ok(reader)
    }

    /// Adds where the topic of `kind` is read from to `start`.
    async fn begin(&mut self, kind: RecordKind, start: &mut TopicPartitionList) -> Result<(), BrokerError> {
        let mut waited = false;
        loop {
            if let Some(spans) = self.spans(kind).await? {
                for span in &spans {
                    // A reader that was there before the topic sees all of it.
                    let offset = if waited { span.low } else { self.options.from.offset(kind, span) };
                    self.add((kind, span.partition), Offset::Offset(offset), start)?;
                    if let Some(ends) = &mut self.ends
                        && offset < span.high
                    {
                        ends.insert((kind, span.partition), span.high);
                    }
                }
                return Ok(());
            }
            match self.options.missing {
                Missing::Follow => return Ok(()),
                Missing::Wait if self.options.until_end => {
                    let topic = self.topics.of(kind).to_owned();
                    return Err(BrokerError::NoTopic { topic, brokers: self.brokers.clone() });
                }
                Missing::Wait => {}
            }
            if !std::mem::replace(&mut waited, true) {
                tracing::info!(topic = self.topics.of(kind), "the topic does not exist yet, waiting for it");
            }
            sleep(TRY_AGAIN).await;
        }
    }

    /// The partitions of the topic of `kind`; none where it does not exist.
    async fn spans(&self, kind: RecordKind) -> Result<Option<Vec<Span>>, BrokerError> {
        let topic = self.topics.of(kind).to_owned();
        let ago = match self.options.from {
            ReadFrom::Ago(ago) => Some(ago),
            ReadFrom::Beginning | ReadFrom::Now | ReadFrom::Places(_) => None,
        };
        let (consumer, name) = (Arc::clone(&self.consumer), topic.clone());
        match task::spawn_blocking(move || spans(&consumer, &name, ago)).await {
            Ok(Ok(spans)) => Ok(spans),
            Ok(Err(error)) => {
                let reported = self.consumer.context().reported();
                let reason = reported.first().map_or_else(|| error.to_string(), |(_, r)| r.clone());
                Err(BrokerError::Unreachable { brokers: self.brokers.clone(), reason })
            }
            Err(panic) => Err(BrokerError::Read { topic, reason: panic.to_string() }),
        }
    }

    fn add(
        &mut self,
        place: (RecordKind, i32),
        offset: Offset,
        start: &mut TopicPartitionList,
    ) -> Result<(), BrokerError> {
        let (kind, partition) = place;
        self.assigned.insert(place);
        start
            .add_partition_offset(self.topics.of(kind), partition, offset)
            .map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &KafkaError) -> BrokerError {
        BrokerError::Read { topic: self.names(), reason: format!("{error} ({})", self.brokers) }
    }

    /// The topics that are read.
    fn names(&self) -> String {
        let names: Vec<_> = self.options.kinds.iter().map(|kind| self.topics.of(*kind)).collect();
        names.join(", ")
    }

    /// The next record; none at the end. May be dropped while it waits, and loses nothing then.
    ///
    /// # Errors
    /// The brokers refuse to be read. That they are away is none: the reader waits for them.
    pub async fn next(&mut self) -> Result<Option<ReadRecord>, BrokerError> {
        Ok(self.next_placed().await?.map(|placed| placed.record))
    }

    /// The next record with its place. As [`Self::next`].
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn next_placed(&mut self) -> Result<Option<Placed>, BrokerError> {
        self.next_as(placed).await
    }

    /// The next record as [`Self::next_placed`] gives it, and its message as it lies on its topic.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn next_recorded(&mut self) -> Result<Option<(Placed, Recorded)>, BrokerError> {
        self.next_as(|message, kind| (placed(message, kind), recorded(message, kind))).await
    }

    /// How many partitions of each topic are read.
    pub fn partitions(&self) -> BTreeMap<RecordKind, u16> {
        let mut counts = BTreeMap::new();
        self.assigned.iter().for_each(|(kind, _)| *counts.entry(*kind).or_default() += 1);
        counts
    }

    async fn next_as<T>(
        &mut self,
        take: fn(&BorrowedMessage<'_>, RecordKind) -> T,
    ) -> Result<Option<T>, BrokerError> {
        while self.ends.as_ref().is_none_or(|ends| !ends.is_empty()) {
            let message = tokio::select! {
                message = self.consumer.recv() => message,
                found = found(&mut self.look) => {
                    self.look = Some(self.look_later());
                    self.follow(&found)?;
                    continue;
                }
            };
            let message = match message {
                Ok(message) => message,
                Err(error) if is_refusal(code(&error)) => {
                    return Err(BrokerError::Read { topic: self.names(), reason: code(&error).to_string() });
                }
                Err(error) => {
                    tracing::debug!(code = ?code(&error), "the reader waits for the brokers");
                    continue;
                }
            };
            let Some(kind) =
                self.options.kinds.iter().copied().find(|k| self.topics.of(*k) == message.topic())
            else {
                continue;
            };
            if let Some(ends) = &mut self.ends {
                let partition = (kind, message.partition());
                match ends.get(&partition) {
                    Some(end) if message.offset() + 1 < *end => {}
                    Some(end) => {
                        let past = message.offset() >= *end;
                        ends.remove(&partition);
                        if past {
                            continue;
                        }
                    }
                    None => continue,
                }
            }
            let others = |camera: &CameraId| message.key() != Some(camera.as_str().as_bytes());
            if self.options.camera.as_ref().is_some_and(others) {
                continue;
            }
            return Ok(Some(take(&message, kind)));
        }
        Ok(None)
    }

    /// Asks in a while which partitions there are. Brokers that are away say nothing, which is no fault.
    fn look_later(&self) -> JoinHandle<Found> {
        let consumer = Arc::clone(&self.consumer);
        let kinds: Vec<_> =
            self.options.kinds.iter().map(|kind| (*kind, self.topics.of(*kind).to_owned())).collect();
        tokio::spawn(async move {
            sleep(LOOK_EVERY).await;
            let ask = move || {
                kinds
                    .iter()
                    .map(|(kind, topic)| (*kind, partitions(&consumer, topic).unwrap_or_default()))
                    .collect()
            };
            task::spawn_blocking(ask).await.unwrap_or_default()
        })
    }

    /// Reads what was not there before from its beginning.
    fn follow(&mut self, found: &Found) -> Result<(), BrokerError> {
        let mut start = TopicPartitionList::new();
        for (kind, partitions) in found {
            for partition in partitions {
                if !self.assigned.contains(&(*kind, *partition)) {
                    self.add((*kind, *partition), Offset::Beginning, &mut start)?;
                }
            }
        }
        if start.count() == 0 {
            return Ok(());
        }
        self.consumer.incremental_assign(&start).map_err(|error| self.failed(&error))
    }
}

impl Drop for RecordReader {
    fn drop(&mut self) {
        if let Some(look) = &self.look {
            look.abort();
        }
    }
}

/// What was found; never returns where nothing is looked for.
async fn found(look: &mut Option<JoinHandle<Found>>) -> Found {
    match look {
        Some(look) => look.await.unwrap_or_default(),
        None => pending().await,
    }
}

impl ReadFrom {
    fn offset(&self, kind: RecordKind, span: &Span) -> i64 {
        match self {
            // The registry is what all of its records say together.
            _ if kind == RecordKind::Camera => span.low,
            Self::Beginning => span.low,
            Self::Ago(_) => span.since.unwrap_or(span.high),
            Self::Now => span.high,
            // A topic that was made anew begins again.
            Self::Places(places) => {
                let place = places.get(&(kind, span.partition)).copied();
                place.filter(|at| (span.low..=span.high).contains(at)).unwrap_or(span.low)
            }
        }
    }
}

fn placed(message: &BorrowedMessage<'_>, kind: RecordKind) -> Placed {
    let record = read(message, kind);
    Placed { kind, partition: message.partition(), offset: message.offset(), record }
}

pub(crate) fn read(message: &BorrowedMessage<'_>, kind: RecordKind) -> ReadRecord {
    let key = message.key().unwrap_or_default();
    decode(key, message.payload(), kind).unwrap_or_else(|reason| ReadRecord::Unreadable {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        reason,
    })
}

/// Whether an error of reading stands, however long one waits.
pub(crate) fn is_refusal(code: RDKafkaErrorCode) -> bool {
    is_denied(code) || code == RDKafkaErrorCode::Fatal
}

impl fmt::Debug for RecordReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordReader").field("kinds", &self.options.kinds).finish_non_exhaustive()
    }
}
