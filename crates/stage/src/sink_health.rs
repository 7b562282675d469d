//! The health of a record sink.

use std::time::Duration;

use lookout_schema::{CameraId, RecordKind};

/// The health of a sink.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SinkHealth {
    /// Whether at least one broker is connected; updated once per second.
    pub connected: bool,
    /// The client's last error since it was connected, as text without secrets.
    pub last_error: Option<String>,
    /// The number of records that wait to be passed to the Kafka client.
    pub outbox: usize,
    /// The number of records that the Kafka client has and the broker has not acknowledged.
    pub in_flight: usize,
    /// How long the oldest unacknowledged record has waited.
    pub oldest_unacked: Option<Duration>,
    /// Cameras whose oldest record has waited for more than 5 s, with that time; the longest first.
    pub held_up: Vec<(CameraId, Duration)>,
    /// Topics that currently accept no records, by record kind, with the reason and advice.
    pub refused: Vec<(RecordKind, String)>,
    /// Cameras whose records the broker rejects one after the other for a reason in the record itself: too large,
    /// invalid.
    pub refused_cameras: Vec<CameraId>,
    /// How often the brokers have rejected a record, by kind and error.
    pub refusals: Vec<RefusalCount>,
    /// The number of snapshots that never reached the broker because newer ones replaced them or the broker rejected
    /// them.
    pub snapshots_lost: u64,
}

/// How often the brokers rejected a record, by kind and error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalCount {
    /// Kind of the record.
    pub kind: RecordKind,
    /// librdkafka's name of the error, such as `TopicAuthorizationFailed`.
    pub error: String,
    /// Number of refusals since the start.
    pub count: u64,
}
