//! Kafka: the producer with its outbox, the topics, the embedded broker, and readers of records.
//!
//! Everything in this crate takes a [`KafkaSettings`](lookout_config::KafkaSettings) that names servers. If the user
//! asked for the embedded broker, call [`Embedded::start`] first: it returns the settings with the address of its
//! cluster.
#![warn(missing_docs)]

mod advice;
mod check;
mod client;
mod connection_state;
mod context;
mod credentials;
mod embedded;
mod error;
mod fetching;
mod fleet;
mod group_reader;
mod limits;
mod outbox;
mod problem;
mod producer;
mod reader;
mod record_writer;
mod recording;
mod refusals;
mod registry;
mod report_queues;
mod sink;
#[cfg(test)]
mod testing;
mod tls;
mod topic_configs;
mod topics;

pub use check::{BrokerCheck, TopicCheck, check, diagnose};
pub use embedded::Embedded;
pub use error::BrokerError;
pub use fleet::FleetMember;
pub use group_reader::{GroupEvent, GroupReader};
pub use lookout_wire::{Offsets, ReadRecord, RecordWithOffset, TopicIds};
pub use problem::BrokerProblem;
pub use reader::{OnMissingTopic, ReadFrom, ReadProblem, ReaderOptions, RecordReader, Refused};
pub use record_writer::{RecordWriter, Written};
pub use recording::{
    Due, Merge, Pace, Recorded, Recording, RecordingError, RecordingWriter, Replayer, Speed, shifted,
};
pub use registry::{Edit, EditError, Registry, RegistryView};
pub use sink::KafkaSink;
