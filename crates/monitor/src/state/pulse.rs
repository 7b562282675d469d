//! When something was heard of last, and when it should have been.

use lookout_schema::Timestamp;
use serde::{Deserialize, Serialize};

/// Of a camera or a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pulse {
    /// When it was heard of last: by our own clock where that was as it came, or else by the record's.
    pub(crate) heard_at: Timestamp,
    /// By the record's clock.
    pub(crate) said_at: Timestamp,
    /// The last record that comes every so often.
    beat_at: Option<Timestamp>,
    /// How often it comes.
    every_ms: i64,
}

/// Workers tell their status this often where their file does not say otherwise.
const EVERY_MS: i64 = 5_000;
/// What `status_interval_ms` may be.
const MAX_EVERY_MS: i64 = 3_600_000;
/// So many that are missing are silence.
const MISSING: i64 = 3;
/// A record that is older was not heard as it came: the monitor reads what it has missed.
const FRESH_MS: i64 = 10_000;

impl Default for Pulse {
    fn default() -> Self {
        let never = Timestamp::from_unix_us(0);
        Self { heard_at: never, said_at: never, beat_at: None, every_ms: EVERY_MS }
    }
}

impl Pulse {
    /// A record that may come at any time.
    pub(crate) fn hear(&mut self, said_at: Timestamp, now: Timestamp) {
        let fresh = now.ms_since(said_at) < FRESH_MS;
        self.heard_at = self.heard_at.max(if fresh { now } else { said_at });
        self.said_at = self.said_at.max(said_at);
    }

    /// A record that comes every so often; one that says the `same` as the one before comes by the interval.
    pub(crate) fn beat(&mut self, said_at: Timestamp, now: Timestamp, same: bool) {
        if let Some(before) = self.beat_at.filter(|_| same) {
            let gap = said_at.ms_since(before);
            if gap > 100 {
                // What has just changed is told at once, which is no interval: the longer one counts, for a while.
                self.every_ms = gap.max(self.every_ms - self.every_ms / 4).clamp(1_000, MAX_EVERY_MS);
            }
        }
        self.beat_at = Some(said_at);
        self.hear(said_at, now);
    }

    /// Whether it should have been heard of by now.
    pub(crate) fn is_silent(&self, now: Timestamp) -> bool {
        now.ms_since(self.heard_at) > MISSING * self.every_ms
    }
}
