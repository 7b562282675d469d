//! Liveness of a camera or a worker: when its last record came, and when the next one is due.

use lookout_schema::Timestamp;
use serde::{Deserialize, Serialize};

/// The liveness of one camera or worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Liveness {
    /// When the last record was received: by the local clock if the record was fresh, otherwise by the
    /// record's clock.
    pub(crate) received_at: Timestamp,
    /// The time of the last record, by the record's clock.
    pub(crate) record_at: Timestamp,
    /// The time of the last periodic record.
    beat_at: Option<Timestamp>,
    /// The estimated interval of the periodic records, in milliseconds.
    every_ms: i64,
}

/// The default `status_interval_ms` of workers.
const EVERY_MS: i64 = 5_000;
/// The highest allowed `status_interval_ms`.
const MAX_EVERY_MS: i64 = 3_600_000;
/// The number of missed intervals that count as silence.
const MISSING: i64 = 3;
/// An older record was not received as it was written, because the monitor is catching up.
const FRESH_MS: i64 = 10_000;

impl Default for Liveness {
    fn default() -> Self {
        let never = Timestamp::from_unix_us(0);
        Self { received_at: never, record_at: never, beat_at: None, every_ms: EVERY_MS }
    }
}

impl Liveness {
    /// Notes a record that may come at any time.
    pub(crate) fn observe(&mut self, record_at: Timestamp, now: Timestamp) {
        let fresh = now.ms_since(record_at) < FRESH_MS;
        self.received_at = self.received_at.max(if fresh { now } else { record_at });
        self.record_at = self.record_at.max(record_at);
    }

    /// Notes a periodic record. Only a record with the `same` status as the previous one measures the
    /// interval.
    pub(crate) fn beat(&mut self, record_at: Timestamp, now: Timestamp, same: bool) {
        if let Some(before) = self.beat_at.filter(|_| same) {
            let gap = record_at.ms_since(before);
            if gap > 100 {
                // A status change is published at once, so a short gap is not the interval. The longer value
                // is kept and decays.
                self.every_ms = gap.max(self.every_ms - self.every_ms / 4).clamp(1_000, MAX_EVERY_MS);
            }
        }
        self.beat_at = Some(record_at);
        self.observe(record_at, now);
    }

    /// Returns whether the next record is overdue.
    pub(crate) fn is_silent(&self, now: Timestamp) -> bool {
        now.ms_since(self.received_at) > MISSING * self.every_ms
    }
}
