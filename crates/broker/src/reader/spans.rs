//! What a topic's partitions hold. Asking blocks.

use std::{
    thread,
    time::{Duration, Instant},
};

use lookout_schema::Timestamp;
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{Consumer, StreamConsumer},
    error::{KafkaError, RDKafkaErrorCode},
};

use crate::{client::code, context::QuietContext};

/// How long the brokers may take to answer.
const REACH_FOR: Duration = Duration::from_secs(10);
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// What one partition holds: offsets from `low` to before `high`.
pub(super) struct Span {
    pub(super) partition: i32,
    pub(super) low: i64,
    pub(super) high: i64,
    /// The first offset since the time that was asked for; none where nothing came since.
    pub(super) since: Option<i64>,
}

type Consuming = StreamConsumer<QuietContext>;

/// The partitions of `topic`; none where it does not exist.
pub(super) fn partitions(consumer: &Consuming, topic: &str) -> Result<Vec<i32>, KafkaError> {
    let metadata = consumer.fetch_metadata(Some(topic), REACH_FOR)?;
    let found = metadata.topics().first().filter(|found| found.error().is_none());
    Ok(found.iter().flat_map(|found| found.partitions()).map(|partition| partition.id()).collect())
}

/// What the partitions of `topic` hold; nothing where it does not exist.
pub(super) fn spans(
    consumer: &Consuming,
    topic: &str,
    ago: Option<Duration>,
) -> Result<Option<Vec<Span>>, KafkaError> {
    let until = Instant::now() + REACH_FOR;
    let partitions = partitions(consumer, topic)?;
    if partitions.is_empty() {
        return Ok(None);
    }
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
    partitions.into_iter().map(span).collect::<Result<_, _>>().map(Some)
}

/// Whether the brokers have not agreed yet which of them has a partition.
fn has_no_leader(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{LeaderNotAvailable, NotLeaderForPartition, UnknownTopicOrPartition};
    matches!(code, LeaderNotAvailable | NotLeaderForPartition | UnknownTopicOrPartition)
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
