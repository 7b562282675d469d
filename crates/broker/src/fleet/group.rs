//! What the consumer group tells this worker.

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

use crate::{
    client::{Redactor, code},
    context::log,
};

/// What the group has said.
#[derive(Debug)]
pub(crate) enum Said {
    Assigned(Vec<i32>),
    /// Another is to have these, once this worker lets go of them.
    Revoked(Vec<i32>),
    /// Another may have these already.
    Lost(Vec<i32>),
}

/// Collects what the group says, for the thread that polls.
pub(crate) struct GroupContext {
    redactor: Redactor,
    said: Mutex<VecDeque<Said>>,
    /// The group is being left: nothing is waited for.
    closing: AtomicBool,
}

impl GroupContext {
    pub(crate) fn new(redactor: Redactor) -> Self {
        Self { redactor, said: Mutex::default(), closing: AtomicBool::new(false) }
    }

    pub(crate) fn take(&self) -> VecDeque<Said> {
        std::mem::take(&mut *self.said())
    }

    pub(crate) fn close(&self) {
        self.closing.store(true, SeqCst);
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
        // The sink's client says the same.
        tracing::debug!(code = ?code(&error), reason = self.redactor.redact(reason), "the fleet's client reports an error");
    }
}

impl ConsumerContext for GroupContext {
    fn rebalance(&self, group: &BaseConsumer<Self>, said: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions: Vec<i32> = list.elements().iter().map(|element| element.partition()).collect();
        let done = match said {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                self.said().push_back(Said::Assigned(partitions));
                // The registry is read anew by each owner.
                list.set_all_offsets(Offset::Beginning).and_then(|()| group.incremental_assign(list))
            }
            _ if self.closing.load(SeqCst) || group.assignment_lost() => {
                self.said().push_back(Said::Lost(partitions));
                group.incremental_unassign(list)
            }
            // The group waits until this worker lets go.
            _ => {
                self.said().push_back(Said::Revoked(partitions));
                Ok(())
            }
        };
        if let Err(error) = done {
            tracing::error!(%error, "the fleet's shares could not be changed");
        }
    }
}
