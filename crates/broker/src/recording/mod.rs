//! Messages kept in a file, to be written again: for whoever develops a consumer, or looks for what has gone wrong.
//!
//! A recording is text, a line of JSON a message behind a line of its own, so that it can be looked at, cut and put
//! together with what every machine has; compressed where the name ends so, which takes back what the text costs.

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

/// A message as it lies on its topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    pub kind: RecordKind,
    pub partition: i32,
    pub offset: i64,
    /// The message's timestamp, in milliseconds since 1970, where it has one.
    pub time_ms: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A copy of what librdkafka holds.
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
