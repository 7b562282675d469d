//! The commit as heartbeat, by which the group confirms that this worker is a member. It runs on a separate thread,
//! because a commit may block for as long as the brokers are unreachable.

use std::{io, sync::Arc, thread};

use crossbeam_channel::{Receiver, Sender, bounded};
use lookout_stage::BootTime;
use rdkafka::{
    TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::{KafkaResult, RDKafkaErrorCode},
    topic_partition_list::Offset,
};

use crate::client::code;
use crate::group_reader::GroupContext;

/// A request to commit how far each partition was read. The group accepts commits from its members only.
pub(crate) struct Heartbeat {
    pub(crate) asked: BootTime,
    pub(crate) positions: Vec<(i32, i64)>,
}

/// The group has accepted the commit, so this worker was a member after `asked`.
pub(crate) struct HeartbeatAck {
    pub(crate) asked: BootTime,
}

/// The channels to the lease thread. The thread ends when they are dropped and the last commit was answered.
pub(crate) struct LeaseThread {
    /// Holds one request. While it is full, another request would have no effect.
    pub(crate) questions: Sender<Heartbeat>,
    pub(crate) answers: Receiver<HeartbeatAck>,
}

impl LeaseThread {
    pub(crate) fn start(group: Arc<BaseConsumer<GroupContext>>, topic: String) -> io::Result<Self> {
        let (questions, asked) = bounded::<Heartbeat>(1);
        let (confirm, answers) = bounded(16);
        let run = move || {
            for question in asked {
                match ask(&group, &topic, &question) {
                    Ok(()) => {
                        if confirm.send(HeartbeatAck { asked: question.asked }).is_err() {
                            return;
                        }
                    }
                    Err(error) => {
                        tracing::debug!(code = ?code(&error), "the fleet's consumer group did not confirm this worker");
                    }
                }
            }
        };
        thread::Builder::new().name("fleet-lease".into()).spawn(run)?;
        Ok(Self { questions, answers })
    }
}

fn ask(group: &BaseConsumer<GroupContext>, topic: &str, question: &Heartbeat) -> KafkaResult<()> {
    let mut list = TopicPartitionList::new();
    for (partition, position) in &question.positions {
        list.add_partition_offset(topic, *partition, Offset::Offset(*position))?;
    }
    match group.commit(&list, CommitMode::Sync) {
        // The group knows this worker as a member, and is about to rebalance.
        Err(error) if code(&error) == RDKafkaErrorCode::RebalanceInProgress => Ok(()),
        answer => answer,
    }
}
