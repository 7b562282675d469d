//! Queries which offsets the partitions of a topic have. All queries block.

use std::{
    thread,
    time::{Duration, Instant},
};

use lookout_schema::Timestamp;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::Consumer,
    error::{KafkaError, RDKafkaErrorCode},
};

use super::Consuming;
use crate::client::{code, is_denied};

/// How long the brokers may take to answer.
const REACH_FOR: Duration = Duration::from_secs(10);
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// The offsets of one partition: from `low` to before `high`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) partition: i32,
    pub(super) low: i64,
    pub(super) high: i64,
    /// The first offset since the requested time; `None` if no time was requested or no record is newer.
    pub(super) since: Option<i64>,
}

/// The state of a topic.
pub(super) enum Existing {
    Missing,
    /// This user has no access to the topic.
    Refused(RDKafkaErrorCode),
    /// Each partition, and whether it has a leader.
    Partitions(Vec<(i32, bool)>),
}

/// The partitions of a topic with their offsets.
pub(super) enum Held {
    Missing,
    Refused(RDKafkaErrorCode),
    /// The offsets of the partitions, and the partitions without a leader.
    Spans(Vec<Span>, Vec<i32>),
}

pub(super) fn existing(
    consumer: &Consuming,
    topic: &str,
    patience: Duration,
) -> Result<Existing, KafkaError> {
    let metadata = consumer.fetch_metadata(Some(topic), patience)?;
    let Some(found) = metadata.topics().first() else { return Ok(Existing::Missing) };
    if let Some(error) = found.error() {
        let code = RDKafkaErrorCode::from(error);
        return Ok(if is_denied(code) { Existing::Refused(code) } else { Existing::Missing });
    }
    let partitions: Vec<_> =
        found.partitions().iter().map(|partition| (partition.id(), partition.leader() >= 0)).collect();
    Ok(if partitions.is_empty() { Existing::Missing } else { Existing::Partitions(partitions) })
}

/// Returns the offsets of the partitions of `topic`. Partitions without a leader are retried for up to 10 s: a topic
/// that was just created, or a broker that was just restarted, has them soon.
pub(super) fn spans(consumer: &Consuming, topic: &str, ago: Option<Duration>) -> Result<Held, KafkaError> {
    let until = Instant::now() + REACH_FOR;
    let left = || until.saturating_duration_since(Instant::now());
    let partitions = match existing(consumer, topic, left())? {
        Existing::Missing => return Ok(Held::Missing),
        Existing::Refused(code) => return Ok(Held::Refused(code)),
        Existing::Partitions(partitions) => partitions,
    };
    let (mut held, mut due) = (Vec::new(), partitions.into_iter().map(|(id, _)| id).collect::<Vec<_>>());
    loop {
        let mut leaderless = Vec::new();
        for partition in due {
            match span(consumer, topic, partition, ago, left()) {
                Ok(span) => held.push(span),
                Err(error) if has_no_leader(code(&error)) => leaderless.push(partition),
                Err(error) => return Err(error),
            }
        }
        if leaderless.is_empty() || left().is_zero() {
            return Ok(Held::Spans(held, leaderless));
        }
        due = leaderless;
        thread::sleep(TRY_AGAIN.min(left()));
    }
}

/// Returns the offsets of one partition.
pub(super) fn span(
    consumer: &Consuming,
    topic: &str,
    partition: i32,
    ago: Option<Duration>,
    patience: Duration,
) -> Result<Span, KafkaError> {
    let (low, high) = consumer.fetch_watermarks(topic, partition, patience)?;
    let since = ago.map(|ago| first_since(consumer, topic, partition, ago, patience)).transpose()?;
    Ok(Span { partition, low, high, since: since.flatten() })
}

/// Returns whether the error means that a partition currently has no leader.
fn has_no_leader(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{
        BrokerNotAvailable, LeaderNotAvailable, NotLeaderForPartition, ReplicaNotAvailable,
        UnknownTopicOrPartition,
    };
    matches!(
        code,
        LeaderNotAvailable
            | NotLeaderForPartition
            | UnknownTopicOrPartition
            | ReplicaNotAvailable
            | BrokerNotAvailable
    )
}

fn first_since(
    consumer: &Consuming,
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
