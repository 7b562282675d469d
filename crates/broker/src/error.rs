//! What can go wrong before records flow; afterwards the ledger and the sink's health tell.

use std::io;

use thiserror::Error;

/// A part of this crate could not be started, or could not go on.
#[derive(Debug, Error)]
pub enum BrokerError {
    /// librdkafka does not know a setting, or not its value.
    #[error("kafka.client.{key}: {reason}")]
    Setting { key: String, reason: String },
    /// The settings do not go together, or a file they name cannot be read.
    #[error("the Kafka client refuses its settings: {reason}")]
    Client { reason: String },
    #[error("the embedded cluster could not be started: {reason}")]
    Embedded { reason: String },
    /// `brokers = "embedded"` reached a part that needs an address; see [`Embedded`](crate::Embedded).
    #[error("the embedded cluster has no address before it is started")]
    NoAddress,
    #[error("no broker of `{brokers}` could be reached: {reason}")]
    Unreachable { brokers: String, reason: String },
    #[error("there is no topic `{topic}` on `{brokers}`: start a pipeline that writes it, or create it")]
    NoTopic { topic: String, brokers: String },
    #[error("reading `{topic}` failed: {reason}")]
    Read { topic: String, reason: String },
    /// It may be allowed later, or never.
    #[error(
        "the brokers refuse that `{topic}` is read: {reason}: check this user's rights (ACL `Read` on the topic), and \
         the `sasl.*` settings in [kafka.client]"
    )]
    Refused { topic: String, reason: String },
    /// It may be allowed later, or never.
    #[error(
        "the brokers refuse that `{topic}` is written: {reason}: check this user's rights (ACL `Write` on the topic), and \
         the `sasl.*` settings in [kafka.client]"
    )]
    WriteRefused { topic: String, reason: String },
    #[error("writing `{topic}` failed: {reason}")]
    Write { topic: String, reason: String },
    #[error("the registry `{topic}` could not be read or written: {reason}")]
    Registry { topic: String, reason: String },
    #[error("the thread `{name}` could not be started")]
    Thread { name: &'static str, source: io::Error },
}
