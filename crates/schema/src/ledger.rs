//! The ledger of a camera, as it is published in status records.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a decoded frame has no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DropCause {
    /// Skipped by the camera's `fps` limit, or by the lower limit of a worker that exceeds its latency budget.
    FpsLimit,
    /// Skipped by `[infer] interval`.
    Skipped,
    /// The camera's queue was full, and a newer frame replaced it.
    QueueFull,
    /// It became older than `max_age_ms` before a batch had room for it.
    Stale,
    /// It was received before the first key frame, where decoding starts.
    NoKeyFrame,
    /// The decoder marked it as corrupt because data that it is predicted from is missing.
    Corrupt,
    /// It could not be converted to the model's input.
    Convert,
    /// The network failed on its batch.
    Infer,
    /// The worker was stopped, or had to release the camera, before it processed the frame.
    Shutdown,
    /// A stage failed while it processed the frame.
    StageFailed,
}

impl DropCause {
    /// All causes.
    pub const ALL: [Self; 10] = [
        Self::FpsLimit,
        Self::Skipped,
        Self::QueueFull,
        Self::Stale,
        Self::NoKeyFrame,
        Self::Corrupt,
        Self::Convert,
        Self::Infer,
        Self::Shutdown,
        Self::StageFailed,
    ];

    /// The name in records and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FpsLimit => "fps_limit",
            Self::Skipped => "skipped",
            Self::QueueFull => "queue_full",
            Self::Stale => "stale",
            Self::NoKeyFrame => "no_key_frame",
            Self::Corrupt => "corrupt",
            Self::Convert => "convert",
            Self::Infer => "infer",
            Self::Shutdown => "shutdown",
            Self::StageFailed => "stage_failed",
        }
    }
}

/// Why a published record never reached the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExpireCause {
    /// The outbox was full, and a newer record replaced it (live cameras only).
    BufferFull,
    /// The broker rejected it permanently, for example as too large or not authorized.
    Rejected,
    /// The worker stopped before the broker acknowledged it.
    Shutdown,
    /// The stage that sends records failed while it processed the record.
    SinkFailed,
}

impl ExpireCause {
    /// All causes.
    pub const ALL: [Self; 4] = [Self::BufferFull, Self::Rejected, Self::Shutdown, Self::SinkFailed];

    /// The name in records and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BufferFull => "buffer_full",
            Self::Rejected => "rejected",
            Self::Shutdown => "shutdown",
            Self::SinkFailed => "sink_failed",
        }
    }
}

/// Counters of a camera's frames and records since the worker started the camera.
///
/// `received = processing + published + sum(dropped)` and
/// `published = delivered + in_flight + spooled + sum(expired)`; see [`LedgerCounts::check`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerCounts {
    /// Frames decoded.
    pub received: u64,
    /// Frames between the decoder and their record; 0 once the worker has drained.
    pub processing: u64,
    /// Frames that became a record.
    pub published: u64,
    /// Records that the broker has acknowledged.
    pub delivered: u64,
    /// Records sent and not yet acknowledged.
    pub in_flight: u64,
    /// Records that wait in the worker's outbox.
    pub spooled: u64,
    /// Frames that have no record, by cause; causes that did not occur are omitted.
    pub dropped: BTreeMap<DropCause, u64>,
    /// Records that never reached the broker, by cause.
    pub expired: BTreeMap<ExpireCause, u64>,
}

/// The error of a ledger in which a total differs from the sum of its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{total} {what} but {parts} accounted for")]
pub struct LedgerImbalance {
    /// The sum: `received` or `published`.
    pub what: &'static str,
    /// The value of the counter.
    pub total: u64,
    /// The sum of the counters that should equal it.
    pub parts: u64,
}

impl LedgerCounts {
    /// Checks that every frame and every record is accounted for.
    ///
    /// # Errors
    /// Returns the first total that differs from the sum of its parts.
    pub fn check(&self) -> Result<(), LedgerImbalance> {
        let parts = all([self.processing, self.published], self.dropped.values());
        if parts != self.received {
            return Err(LedgerImbalance { what: "received", total: self.received, parts });
        }
        let parts = all([self.delivered, self.in_flight, self.spooled], self.expired.values());
        if parts != self.published {
            return Err(LedgerImbalance { what: "published", total: self.published, parts });
        }
        Ok(())
    }
}

/// Returns the sum. It saturates because counters in received records can have any value.
fn all<'a, const N: usize>(parts: [u64; N], more: impl Iterator<Item = &'a u64>) -> u64 {
    parts.into_iter().chain(more.copied()).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detects_counts_that_overflow() {
        let counts = LedgerCounts { processing: u64::MAX, published: u64::MAX, ..Default::default() };
        assert!(counts.check().is_err());
    }

    #[test]
    fn as_str_matches_the_names_in_json() {
        for cause in DropCause::ALL {
            assert_eq!(serde_json::to_string(&cause).unwrap(), format!("\"{}\"", cause.as_str()));
        }
        for cause in ExpireCause::ALL {
            assert_eq!(serde_json::to_string(&cause).unwrap(), format!("\"{}\"", cause.as_str()));
        }
    }

    #[test]
    fn detects_a_missing_frame() {
        let mut counts = LedgerCounts { received: 3, published: 2, delivered: 2, ..Default::default() };
        assert_eq!(counts.check(), Err(LedgerImbalance { what: "received", total: 3, parts: 2 }));
        counts.dropped.insert(DropCause::Stale, 1);
        assert_eq!(counts.check(), Ok(()));
        counts.delivered = 1;
        assert_eq!(counts.check(), Err(LedgerImbalance { what: "published", total: 2, parts: 1 }));
    }
}
