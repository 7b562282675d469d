//! Reads the records back, for `lookout tail` and for tests.

use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use lookout_config::KafkaSettings;
use lookout_schema::{CameraId, Timestamp};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{Consumer, StreamConsumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::BorrowedMessage,
};
use tokio::task;

use crate::{
    BrokerError,
    client::{Redactor, Use, client_config, code, servers},
    context::QuietContext,
    record::{Kind, ReadRecord, decode},
};

/// Where reading begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReadFrom {
    /// With the oldest record that the topics still have.
    Beginning,
    /// With what came so long ago.
    Ago(Duration),
    /// With what comes after the reader was opened.
    #[default]
    Now,
}

/// What to read.
#[derive(Debug, Clone, Default)]
pub struct ReaderOptions {
    pub from: ReadFrom,
    /// Leave the frames' records alone.
    pub only_status: bool,
    /// Stop at what was the end when the reader was opened, rather than wait for more.
    pub until_end: bool,
    /// Only what belongs to this camera.
    pub camera: Option<CameraId>,
}

/// Reads the frame and status topics. The records of one camera come in their order; those of different
/// cameras in any.
pub struct RecordReader {
    consumer: Arc<Reader>,
    topics: [String; 2],
    camera: Option<CameraId>,
    /// Where the reader stops, for each partition that it has not read so far.
    ends: Option<HashMap<(usize, i32), i64>>,
}

type Reader = StreamConsumer<QuietContext>;

/// How long the brokers may take to answer when a reader is opened.
const REACH_FOR: Duration = Duration::from_secs(10);
const TRY_AGAIN: Duration = Duration::from_millis(500);

impl RecordReader {
    /// Opens the topics. Where they do not exist yet it waits for them, unless it is to stop at the end.
    ///
    /// # Errors
    /// Settings that librdkafka refuses; no broker that answers within 10 s; no such topic.
    pub async fn open(settings: &KafkaSettings, options: &ReaderOptions) -> Result<Self, BrokerError> {
        let redactor = Redactor::new(settings);
        let context = QuietContext::new(redactor.clone());
        let consumer: Reader = client_config(settings, Use::Consume)?
            // librdkafka wants one to be named, but a reader joins no group and commits nothing.
            .set("group.id", "lookout-reader")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .create_with_context(context)
            .map_err(|error| redactor.creation_error(&error))?;
        let consumer = Arc::new(consumer);
        let topics = [settings.topics.frames.clone(), settings.topics.status.clone()];
        let opening = Opening { brokers: servers(settings)?.to_owned(), options: options.clone() };
        let mut start = TopicPartitionList::new();
        let mut ends = HashMap::new();
        for (index, topic) in topics.iter().enumerate().skip(usize::from(options.only_status)) {
            for span in opening.spans(&consumer, topic).await? {
                let offset = match options.from {
                    ReadFrom::Beginning => span.low,
                    ReadFrom::Ago(_) => span.since.unwrap_or(span.high),
                    ReadFrom::Now => span.high,
                };
                start
                    .add_partition_offset(topic, span.partition, Offset::Offset(offset))
                    .map_err(|error| opening.failed(topic, &error))?;
                if offset < span.high {
                    ends.insert((index, span.partition), span.high);
                }
            }
        }
        consumer.assign(&start).map_err(|error| opening.failed(&topics.join(", "), &error))?;
        let ends = options.until_end.then_some(ends);
        Ok(Self { consumer, topics, camera: options.camera.clone(), ends })
    }

    /// The next record; none at the end. May be dropped while it waits, and loses nothing then.
    ///
    /// # Errors
    /// The brokers refuse to be read. That they are away is none: the reader waits for them.
    pub async fn next(&mut self) -> Result<Option<ReadRecord>, BrokerError> {
        while self.ends.as_ref().is_none_or(|ends| !ends.is_empty()) {
            let message = match self.consumer.recv().await {
                Ok(message) => message,
                Err(error) if is_refusal(code(&error)) => {
                    let topic = self.topics.join(", ");
                    return Err(BrokerError::Read { topic, reason: code(&error).to_string() });
                }
                Err(error) => {
                    tracing::debug!(code = ?code(&error), "the reader waits for the brokers");
                    continue;
                }
            };
            let index = usize::from(message.topic() != self.topics[0]);
            if let Some(ends) = &mut self.ends {
                let partition = (index, message.partition());
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
            if self.camera.as_ref().is_some_and(others) {
                continue;
            }
            let kind = if index == 0 { Kind::Frame } else { Kind::Status };
            return Ok(Some(read(&message, kind)));
        }
        Ok(None)
    }
}

fn read(message: &BorrowedMessage<'_>, kind: Kind) -> ReadRecord {
    decode(message.payload().unwrap_or_default(), kind).unwrap_or_else(|reason| ReadRecord::Unreadable {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        reason,
    })
}

/// Whether trying on would not help.
fn is_refusal(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::Authentication
            | Code::Fatal
    )
}

/// What one partition holds: offsets from `low` to before `high`.
struct Span {
    partition: i32,
    low: i64,
    high: i64,
    /// The first offset since the time that was asked for; none where nothing came since.
    since: Option<i64>,
}

struct Opening {
    brokers: String,
    options: ReaderOptions,
}

impl Opening {
    fn failed(&self, topic: &str, error: &KafkaError) -> BrokerError {
        let reason = format!("{error} ({})", self.brokers);
        BrokerError::Read { topic: topic.to_owned(), reason }
    }

    /// The partitions of `topic`, once it exists.
    async fn spans(&self, consumer: &Arc<Reader>, topic: &str) -> Result<Vec<Span>, BrokerError> {
        let mut told = false;
        loop {
            let (reader, name) = (Arc::clone(consumer), topic.to_owned());
            let ago = match self.options.from {
                ReadFrom::Ago(ago) => Some(ago),
                ReadFrom::Beginning | ReadFrom::Now => None,
            };
            let found = task::spawn_blocking(move || spans(&reader, &name, ago)).await;
            match found {
                // A reader that was there before the topic sees all of it.
                Ok(Ok(Some(mut spans))) if told => {
                    spans.iter_mut().for_each(|span| span.high = span.low);
                    return Ok(spans);
                }
                Ok(Ok(Some(spans))) => return Ok(spans),
                Ok(Ok(None)) if self.options.until_end => {
                    return Err(BrokerError::NoTopic {
                        topic: topic.to_owned(),
                        brokers: self.brokers.clone(),
                    });
                }
                Ok(Ok(None)) => {}
                Ok(Err(error)) => {
                    let reported = consumer.context().reported();
                    let reason = reported.first().map_or_else(|| error.to_string(), |(_, r)| r.clone());
                    return Err(BrokerError::Unreachable { brokers: self.brokers.clone(), reason });
                }
                Err(panic) => {
                    return Err(BrokerError::Read { topic: topic.to_owned(), reason: panic.to_string() });
                }
            }
            if !told {
                told = true;
                tracing::info!(topic, "the topic does not exist yet, waiting for it");
            }
            tokio::time::sleep(TRY_AGAIN).await;
        }
    }
}

fn spans(consumer: &Reader, topic: &str, ago: Option<Duration>) -> Result<Option<Vec<Span>>, KafkaError> {
    let until = Instant::now() + REACH_FOR;
    let metadata = consumer.fetch_metadata(Some(topic), REACH_FOR)?;
    let Some(found) = metadata.topics().first().filter(|t| t.error().is_none() && !t.partitions().is_empty())
    else {
        return Ok(None);
    };
    let span = |partition: i32| {
        let left = || until.saturating_duration_since(Instant::now());
        loop {
            match consumer.fetch_watermarks(topic, partition, left()) {
                Ok((low, high)) => {
                    let since = ago.map(|ago| first_since(consumer, topic, partition, ago, left()));
                    return Ok(Span { partition, low, high, since: since.transpose()?.flatten() });
                }
                // A topic that was just made, or a broker that has just come back, has it in a moment.
                Err(error) if has_no_leader(code(&error)) && !left().is_zero() => {
                    thread::sleep(TRY_AGAIN.min(left()));
                }
                Err(error) => return Err(error),
            }
        }
    };
    found.partitions().iter().map(|partition| span(partition.id())).collect::<Result<_, _>>().map(Some)
}

/// Whether the brokers have not agreed yet which of them has a partition.
fn has_no_leader(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{LeaderNotAvailable, NotLeaderForPartition, UnknownTopicOrPartition};
    matches!(code, LeaderNotAvailable | NotLeaderForPartition | UnknownTopicOrPartition)
}

fn first_since(
    consumer: &Reader,
    topic: &str,
    partition: i32,
    ago: Duration,
    patience: Duration,
) -> Result<Option<i64>, KafkaError> {
    let ms = (Timestamp::now() - ago).as_unix_us() / 1_000;
    let mut times = TopicPartitionList::new();
    times.add_partition_offset(topic, partition, Offset::Offset(ms))?;
    let found = consumer.offsets_for_times(times, patience)?;
    let offset = found.find_partition(topic, partition).map(|element| element.offset());
    Ok(offset.and_then(|offset| match offset {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }))
}

impl fmt::Debug for RecordReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordReader").field("topics", &self.topics).finish_non_exhaustive()
    }
}
