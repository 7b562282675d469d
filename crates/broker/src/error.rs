//! Errors that occur before records flow. Later errors are in the ledger and in the sink's health.

use std::io;

use thiserror::Error;

/// A part of this crate could not be started, or cannot continue.
#[derive(Debug, Error)]
pub enum BrokerError {
    /// librdkafka does not know the setting, or does not accept its value.
    #[error("kafka.client.{key}: {reason}")]
    Setting { key: String, reason: String },
    /// The file with the user's password cannot be used.
    #[error("kafka.password_file: {reason}")]
    PasswordFile { reason: String },
    /// The settings contradict each other, or a file that they name cannot be read.
    #[error("the Kafka client rejected its settings: {reason}")]
    Client { reason: String },
    #[error("the embedded broker could not be started: {reason}")]
    Embedded { reason: String },
    /// `brokers = "embedded"` was passed to a part that needs an address; see [`Embedded`](crate::Embedded).
    #[error("the embedded broker has no address before it is started")]
    NoAddress,
    #[error("none of the brokers `{brokers}` could be reached: {reason}")]
    Unreachable { brokers: String, reason: String },
    #[error("there is no topic `{topic}` on `{brokers}`: start a pipeline that writes it, or create it")]
    NoTopic { topic: String, brokers: String },
    #[error("reading `{topic}` failed: {reason}")]
    Read { topic: String, reason: String },
    /// The user may get the right to read later, so the caller decides whether to retry.
    #[error(
        "the brokers denied reading `{topic}`: {reason}; check this user's rights (ACL `Read` on the topic), and \
         the `sasl.*` settings in [kafka.client]"
    )]
    Refused { topic: String, reason: String },
    /// The user may get the right to write later, so the caller decides whether to retry.
    #[error(
        "the brokers denied writing to `{topic}`: {reason}; check this user's rights (ACL `Write` on the topic), and \
         the `sasl.*` settings in [kafka.client]"
    )]
    WriteRefused { topic: String, reason: String },
    #[error("writing to `{topic}` failed: {reason}")]
    Write { topic: String, reason: String },
    #[error("the registry `{topic}` could not be read or written: {reason}")]
    Registry { topic: String, reason: String },
    #[error("the thread `{name}` could not be started")]
    Thread { name: &'static str, source: io::Error },
}
