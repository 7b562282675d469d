//! Recordings: messages stored in a file that can be written to Kafka again, for development of consumers and for
//! analysis of faults.
//!
//! A recording is text: a header line, then one line of JSON per message. It can be searched, cut and edited with
//! standard tools. Compression, selected by the file name, removes the overhead of the text.

mod file;
mod merge;
mod replay;
mod shift;

use lookout_schema::RecordKind;
use rdkafka::{
    Message,
    message::{BorrowedMessage, Headers},
};

pub use self::{
    file::{Recording, RecordingError, RecordingWriter},
    merge::{Due, Merge, Pace, Speed},
    replay::Replayer,
    shift::shifted,
};

/// A message of a topic, not decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The record kind of the topic.
    pub kind: RecordKind,
    /// The partition of the topic.
    pub partition: i32,
    /// The offset in the partition.
    pub offset: i64,
    /// The message's timestamp in milliseconds since 1970, if it has one.
    pub time_ms: Option<i64>,
    /// The key, if the message has one.
    pub key: Option<Vec<u8>>,
    /// The value; `None` for a tombstone.
    pub value: Option<Vec<u8>>,
    /// The names and values of the headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Copies a message out of librdkafka's buffer.
pub(crate) fn recorded(message: &BorrowedMessage<'_>, kind: RecordKind) -> Recorded {
    let headers = message.headers().into_iter().flat_map(Headers::iter);
    Recorded {
        kind,
        partition: message.partition(),
        offset: message.offset(),
        time_ms: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers.map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect(),
    }
}
