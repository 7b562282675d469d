//! The callbacks of a member of a consumer group, and the group's events.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, Offset, Statistics, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, KafkaResult},
    types::RDKafkaRespErr,
};
use tokio::sync::Notify;

use crate::{client::code, fetching::Fetching};

/// How long the brokers may take to answer queries about added partitions.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A rebalance event of the group.
#[derive(Debug)]
pub(crate) enum Rebalance {
    Assigned(Vec<i32>),
    /// These partitions go to another member, once this member releases them.
    Revoked(Vec<i32>),
    /// Another member may already own these partitions.
    Lost(Vec<i32>),
}

/// The offset at which reading of an assigned partition starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartOffset {
    /// At its first record, because each owner reads the whole partition.
    First,
    /// At the committed offset. If there is none, at the end, or at the first record of a partition that was added to
    /// the topic.
    Committed,
    /// At the committed offset; at the first record if there is none, because the topic was recreated.
    Recreated,
}

/// Collects the group's events for the code that polls the client.
pub(crate) struct GroupContext {
    fetching: Fetching,
    start_offset: StartOffset,
    /// The number of partitions that the topic had at the first assignment; 0 for a topic that was recreated.
    partitions: OnceLock<i32>,
    /// Notified when there is a new event.
    news: Notify,
    rebalances: Mutex<VecDeque<Rebalance>>,
    /// Whether the member is leaving the group: partitions are then released at once.
    closing: AtomicBool,
}

impl GroupContext {
    pub(crate) fn new(fetching: Fetching, start_offset: StartOffset) -> Self {
        let partitions = match start_offset {
            StartOffset::Recreated => OnceLock::from(0),
            StartOffset::First | StartOffset::Committed => OnceLock::new(),
        };
        Self {
            fetching,
            start_offset,
            partitions,
            news: Notify::new(),
            rebalances: Mutex::default(),
            closing: AtomicBool::new(false),
        }
    }

    pub(crate) fn fetching(&self) -> &Fetching {
        &self.fetching
    }

    /// Waits until there is an event. Events since the last [`Self::take`] are not missed.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }

    pub(crate) fn take(&self) -> VecDeque<Rebalance> {
        std::mem::take(&mut *self.rebalances())
    }

    pub(crate) fn close(&self) {
        self.closing.store(true, SeqCst);
    }

    /// Sets partitions that were added to the topic, and for which the group has no committed offset, to be read from
    /// their beginning. Other partitions without a committed offset start at the end. Blocks until the brokers
    /// answer.
    fn start_added_partitions(
        &self,
        group: &BaseConsumer<Self>,
        list: &mut TopicPartitionList,
    ) -> KafkaResult<()> {
        let Some(topic) = list.elements().first().map(|element| element.topic().to_owned()) else {
            return Ok(());
        };
        let count = || {
            let metadata = group.fetch_metadata(Some(&topic), ANSWER_WITHIN).ok()?;
            let found = metadata.topics().first()?.partitions().len();
            i32::try_from(found).ok()
        };
        let Some(known) = self.partitions.get().copied() else {
            if let Some(count) = count() {
                // There is no race: only one thread polls.
                let _ = self.partitions.set(count);
            }
            return Ok(());
        };
        let mut added = TopicPartitionList::new();
        for element in list.elements().iter().filter(|element| element.partition() >= known) {
            added.add_partition(element.topic(), element.partition());
        }
        if added.count() == 0 {
            return Ok(());
        }
        for element in group.committed_offsets(added, ANSWER_WITHIN)?.elements() {
            if !matches!(element.offset(), Offset::Offset(_)) {
                list.set_partition_offset(element.topic(), element.partition(), Offset::Beginning)?;
            }
        }
        Ok(())
    }

    fn push(&self, rebalance: Rebalance) {
        self.rebalances().push_back(rebalance);
        self.news.notify_one();
    }

    fn rebalances(&self) -> MutexGuard<'_, VecDeque<Rebalance>> {
        self.rebalances.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.fetching.log(level, facility, line);
    }

    fn stats(&self, statistics: Statistics) {
        self.fetching.observe(&statistics, Instant::now());
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.fetching.error(code(&error), reason);
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(&self, group: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions: Vec<i32> = list.elements().iter().map(|element| element.partition()).collect();
        let done = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                self.push(Rebalance::Assigned(partitions));
                let set = match self.start_offset {
                    StartOffset::First => list.set_all_offsets(Offset::Beginning),
                    StartOffset::Committed | StartOffset::Recreated => {
                        self.start_added_partitions(group, list)
                    }
                };
                set.and_then(|()| group.incremental_assign(list))
            }
            _ if self.closing.load(SeqCst) || group.assignment_lost() => {
                self.push(Rebalance::Lost(partitions));
                group.incremental_unassign(list)
            }
            // The group waits until this member releases the partitions.
            _ => {
                self.push(Rebalance::Revoked(partitions));
                Ok(())
            }
        };
        if let Err(error) = done {
            tracing::error!(%error, "the partition assignment could not be changed");
        }
    }
}
