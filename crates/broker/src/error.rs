//! Errors that occur before records flow. Later errors are in the ledger and in the sink's health.

use std::io;

use thiserror::Error;

/// A part of this crate could not be started, or cannot continue.
#[derive(Debug, Error)]
pub enum BrokerError {
    /// librdkafka does not know the setting, or does not accept its value.
    #[error("kafka.client.{key}: {reason}")]
    Setting {
        /// The key, without its table.
        key: String,
        /// The message of librdkafka.
        reason: String,
    },
    /// The file with the user's password cannot be used.
    #[error("kafka.password_file: {reason}")]
    PasswordFile {
        /// Why the file cannot be used.
        reason: String,
    },
    /// The settings contradict each other, or a file that they name cannot be read.
    #[error("the Kafka client rejected its settings: {reason}")]
    Client {
        /// The message of librdkafka, without secrets.
        reason: String,
    },
    /// The mock cluster of librdkafka could not be created.
    #[error("the embedded broker could not be started: {reason}")]
    Embedded {
        /// The message of librdkafka.
        reason: String,
    },
    /// `brokers = "embedded"` was passed to a part that needs an address; see [`Embedded`](crate::Embedded).
    #[error("the embedded broker has no address before it is started")]
    NoAddress,
    /// No broker answered within the time limit.
    #[error("none of the brokers `{brokers}` could be reached: {reason}")]
    Unreachable {
        /// The servers of the settings, separated by commas.
        brokers: String,
        /// The last error of the connections.
        reason: String,
    },
    /// The topic does not exist, and the reader does not wait for it.
    #[error("there is no topic `{topic}` on `{brokers}`: start a pipeline that writes it, or create it")]
    NoTopic {
        /// The name of the topic.
        topic: String,
        /// The servers of the settings, separated by commas.
        brokers: String,
    },
    /// The client can no longer read the topic and has to be replaced.
    #[error("reading `{topic}` failed: {reason}")]
    Read {
        /// The name of the topic.
        topic: String,
        /// The error of the client or of the broker.
        reason: String,
    },
    /// The user may get the right to read later, so the caller decides whether to retry.
    #[error(
        "the brokers denied reading `{topic}`: {reason}; check this user's rights (ACL `Read` on the topic), and \
         the `sasl.*` settings in [kafka.client]"
    )]
    Refused {
        /// The name of the topic.
        topic: String,
        /// The error code of the broker.
        reason: String,
    },
    /// The user may get the right to write later, so the caller decides whether to retry.
    #[error(
        "the brokers denied writing to `{topic}`: {reason}; check this user's rights (ACL `Write` on the topic), and \
         the `sasl.*` settings in [kafka.client]"
    )]
    WriteRefused {
        /// The name of the topic.
        topic: String,
        /// The error code of the broker.
        reason: String,
    },
    /// A record could not be delivered, or the brokers rejected it.
    #[error("writing to `{topic}` failed: {reason}")]
    Write {
        /// The name of the topic.
        topic: String,
        /// The error of the delivery report.
        reason: String,
    },
    /// A transaction or a read of the registry failed.
    #[error("the registry `{topic}` could not be read or written: {reason}")]
    Registry {
        /// The name of the registry's topic.
        topic: String,
        /// The error of the client or of the broker.
        reason: String,
    },
    /// The operating system did not start a thread.
    #[error("the thread `{name}` could not be started")]
    Thread {
        /// The name of the thread.
        name: &'static str,
        /// The error of the operating system.
        source: io::Error,
    },
}
