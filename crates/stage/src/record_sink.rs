//! The interface of a record sink.

use std::{future::Future, pin::Pin, time::Instant};

use lookout_schema::{FrameRecord, SnapshotRecord, StatusRecord};

use crate::Ticket;

/// Publishes records to where consumers read them.
pub trait RecordSink: Send + Sync {
    /// Publishes the record of a frame. Never waits: a lossless source is slowed down by its permits instead. The
    /// ticket is settled when the record is delivered or expires.
    fn publish(&self, record: &FrameRecord, ticket: Ticket);

    /// Publishes a status record; best effort.
    fn report(&self, record: &StatusRecord);

    /// Publishes a snapshot; best effort. Only the latest snapshot of a camera is kept.
    fn snapshot(&self, record: &SnapshotRecord);

    /// Waits until every record is settled, or until `deadline`, at which the remaining records expire.
    fn drain(&self, deadline: Instant) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}
