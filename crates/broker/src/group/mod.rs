//! Consumers that share the frames' topic: one consumer group, whose members each read some of its partitions.

mod context;

use std::{collections::BTreeSet, fmt};

use lookout_config::KafkaSettings;
use lookout_schema::RecordKind;
use rdkafka::{
    Message, TopicPartitionList,
    consumer::{Consumer, StreamConsumer},
    error::KafkaError,
};

pub(crate) use self::context::{Begin, GroupContext, Said};
use crate::{
    BrokerError, Placed,
    client::{Redactor, Use, client_config, code},
    reader::{is_refusal, read},
};

/// What a member hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    Record(Placed),
    /// These partitions are another's, once the next is asked for.
    Lost(Vec<i32>),
}

/// A member of a group that reads frames. It begins where the group stopped, or with what comes where the group is
/// new. Dropping it leaves the group.
pub struct GroupReader {
    consumer: StreamConsumer<GroupContext>,
    topic: String,
    assigned: BTreeSet<i32>,
    /// What was told to be lost and is still to be let go of.
    leaving: Vec<i32>,
    /// What was given last, which counts as done when the next is asked for.
    given: Option<(i32, i64)>,
}

impl GroupReader {
    /// Joins the `group`, in the background: that no broker answers, or that there is no topic yet, is no error here.
    /// To be called within a tokio runtime.
    ///
    /// # Errors
    /// Settings that librdkafka refuses.
    pub fn join(settings: &KafkaSettings, group: &str) -> Result<Self, BrokerError> {
        let redactor = Redactor::new(settings);
        let topic = settings.topics.of(RecordKind::Frame).to_owned();
        let consumer: StreamConsumer<GroupContext> = client_config(settings, Use::Consume)?
            .set("group.id", group)
            // Who joins takes partitions from some and leaves the others reading.
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", "10000")
            .set("heartbeat.interval.ms", "2000")
            .set("auto.offset.reset", "latest")
            // What is done is stored by `next`, and committed within a second and before a partition is let go of.
            .set("enable.auto.offset.store", "false")
            .set("enable.auto.commit", "true")
            .set("auto.commit.interval.ms", "1000")
            .set("allow.auto.create.topics", "false")
            .set("topic.metadata.refresh.interval.ms", "5000")
            .set("fetch.wait.max.ms", "100")
            .create_with_context(GroupContext::new(redactor.clone(), Begin::Committed))
            .map_err(|error| redactor.creation_error(&error))?;
        let failed =
            |error: KafkaError| BrokerError::Read { topic: topic.clone(), reason: error.to_string() };
        consumer.subscribe(&[&topic]).map_err(failed)?;
        Ok(Self { consumer, topic, assigned: BTreeSet::new(), leaving: Vec::new(), given: None })
    }

    /// The next that is heard. With that, what was given before counts as done: another who reads on does not see
    /// it again. May be dropped while it waits, and loses nothing then.
    ///
    /// # Errors
    /// The brokers refuse to be read. That they are away is none: the reader waits for them.
    pub async fn next(&mut self) -> Result<Heard, BrokerError> {
        self.done();
        self.let_go()?;
        loop {
            if let Some(heard) = self.told() {
                return Ok(heard);
            }
            let message = tokio::select! {
                biased;
                () = self.consumer.context().news() => continue,
                message = self.consumer.recv() => message,
            };
            match message {
                Ok(message) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    let (kind, record) = (RecordKind::Frame, read(&message, RecordKind::Frame));
                    self.given = Some((partition, offset));
                    return Ok(Heard::Record(Placed { kind, partition, offset, record }));
                }
                Err(error) if is_refusal(code(&error)) => {
                    return Err(self.failed(&error));
                }
                Err(error) => tracing::debug!(code = ?code(&error), "the group waits for the brokers"),
            }
        }
    }

    /// The partitions that this member reads.
    pub fn partitions(&self) -> &BTreeSet<i32> {
        &self.assigned
    }

    /// What the group has said and whoever reads has to know.
    fn told(&mut self) -> Option<Heard> {
        let mut lost = Vec::new();
        for said in self.consumer.context().take() {
            match said {
                Said::Assigned(partitions) => {
                    tracing::info!(?partitions, topic = self.topic, "the group gives partitions");
                    self.assigned.extend(partitions);
                }
                Said::Revoked(partitions) => {
                    tracing::info!(?partitions, topic = self.topic, "the group gives partitions to another");
                    self.leaving.extend(&partitions);
                    lost.extend(partitions);
                }
                Said::Lost(partitions) => {
                    tracing::warn!(
                        ?partitions,
                        topic = self.topic,
                        "the group has given partitions of this member up"
                    );
                    lost.extend(partitions);
                }
            }
        }
        lost.iter().for_each(|partition| {
            self.assigned.remove(partition);
        });
        (!lost.is_empty()).then_some(Heard::Lost(lost))
    }

    fn done(&mut self) {
        if let Some((partition, offset)) = self.given.take()
            // One that is not this member's any more is another's to be done with.
            && let Err(error) = self.consumer.store_offset(&self.topic, partition, offset)
        {
            tracing::debug!(code = ?code(&error), partition, "a place could not be stored");
        }
    }

    /// Gives back what whoever reads knows to be lost; the group waits for that.
    fn let_go(&mut self) -> Result<(), BrokerError> {
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
        // What was given is done: its reader is at an end. Closing commits it.
        self.done();
        self.consumer.context().close();
    }
}

impl fmt::Debug for GroupReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupReader").field("assigned", &self.assigned).finish_non_exhaustive()
    }
}
