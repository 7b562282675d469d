//! Asks the group whether this worker belongs to it, on a thread of its own: an answer may take as long as the
//! brokers are away.

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
use crate::group::GroupContext;

/// The question is a commit, which the group takes from its members only: how far each partition was read.
pub(crate) struct Question {
    pub(crate) asked: BootTime,
    pub(crate) positions: Vec<(i32, i64)>,
}

/// The group has answered: this worker belonged to it after `asked`.
pub(crate) struct Confirmed {
    pub(crate) asked: BootTime,
}

/// The ends of the thread's channels. It ends when they are dropped and the last answer has come.
pub(crate) struct LeaseThread {
    /// Holds one question; while that is full there is no use in another.
    pub(crate) questions: Sender<Question>,
    pub(crate) answers: Receiver<Confirmed>,
}

impl LeaseThread {
    pub(crate) fn start(group: Arc<BaseConsumer<GroupContext>>, topic: String) -> io::Result<Self> {
        let (questions, asked) = bounded::<Question>(1);
        let (confirm, answers) = bounded(16);
        let run = move || {
            for question in asked {
                match ask(&group, &topic, &question) {
                    Ok(()) => {
                        if confirm.send(Confirmed { asked: question.asked }).is_err() {
                            return;
                        }
                    }
                    Err(error) => {
                        tracing::debug!(code = ?code(&error), "the fleet's group does not confirm this worker");
                    }
                }
            }
        };
        thread::Builder::new().name("fleet-lease".into()).spawn(run)?;
        Ok(Self { questions, answers })
    }
}

fn ask(group: &BaseConsumer<GroupContext>, topic: &str, question: &Question) -> KafkaResult<()> {
    let mut list = TopicPartitionList::new();
    for (partition, position) in &question.positions {
        list.add_partition_offset(topic, *partition, Offset::Offset(*position))?;
    }
    match group.commit(&list, CommitMode::Sync) {
        // The group knows this worker, and is about to share its cameras out anew.
        Err(error) if code(&error) == RDKafkaErrorCode::RebalanceInProgress => Ok(()),
        answer => answer,
    }
}
