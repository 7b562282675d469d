//! What a consumer group tells one of its members.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use rdkafka::{
    ClientContext, Offset, Statistics, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaError,
    types::RDKafkaRespErr,
};
use tokio::sync::Notify;

use crate::{
    client::{Redactor, code},
    context::log,
};

/// What the group has said.
#[derive(Debug)]
pub(crate) enum Said {
    Assigned(Vec<i32>),
    /// Another is to have these, once this member lets go of them.
    Revoked(Vec<i32>),
    /// Another may have these already.
    Lost(Vec<i32>),
}

/// Where reading of a partition begins that the group gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// With its first record: each owner reads all of it.
    First,
    /// Where the owner before it stopped.
    Committed,
}

/// Collects what the group says, for whoever polls.
pub(crate) struct GroupContext {
    redactor: Redactor,
    begin: Begin,
    /// Something was said.
    news: Notify,
    said: Mutex<VecDeque<Said>>,
    /// The group is being left: nothing is waited for.
    closing: AtomicBool,
}

impl GroupContext {
    pub(crate) fn new(redactor: Redactor, begin: Begin) -> Self {
        let closing = AtomicBool::new(false);
        Self { redactor, begin, news: Notify::new(), said: Mutex::default(), closing }
    }

    /// Waits until something is said. What was said since [`Self::take`] is not missed.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }

    pub(crate) fn take(&self) -> VecDeque<Said> {
        std::mem::take(&mut *self.said())
    }

    pub(crate) fn close(&self) {
        self.closing.store(true, SeqCst);
    }

    fn say(&self, said: Said) {
        self.said().push_back(said);
        self.news.notify_one();
    }

    fn said(&self) -> MutexGuard<'_, VecDeque<Said>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for GroupContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log(&self.redactor, level, facility, line);
    }

    fn stats(&self, _: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        // The client that writes says the same.
        tracing::debug!(code = ?code(&error), reason = self.redactor.redact(reason), "a group's client reports an error");
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(&self, group: &BaseConsumer<Self>, said: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions: Vec<i32> = list.elements().iter().map(|element| element.partition()).collect();
        let done = match said {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                self.say(Said::Assigned(partitions));
                let set = match self.begin {
                    Begin::First => list.set_all_offsets(Offset::Beginning),
                    Begin::Committed => Ok(()),
                };
                set.and_then(|()| group.incremental_assign(list))
            }
            _ if self.closing.load(SeqCst) || group.assignment_lost() => {
                self.say(Said::Lost(partitions));
                group.incremental_unassign(list)
            }
            // The group waits until this member lets go.
            _ => {
                self.say(Said::Revoked(partitions));
                Ok(())
            }
        };
        if let Err(error) = done {
            tracing::error!(%error, "a group's shares could not be changed");
        }
    }
}
