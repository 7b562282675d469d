//! Conditions that must hold for a time before an alert is raised, and be false for a time before it clears.

use std::time::Duration;

use lookout_schema::{AlertRecord, FrameRef, Timestamp};
use serde::{Deserialize, Serialize};

use super::alert::{cleared, given_up};

/// The state of a condition that raises an alert once it has held for long enough.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct SustainedCondition {
    since: Option<Since>,
    /// The time at which the condition became false, if it is false while `since` is still set.
    last_so: Option<Timestamp>,
    raised: Option<AlertRecord>,
    /// When an alert was last raised.
    raised_at: Option<Timestamp>,
}

/// The start of the condition.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Since {
    pub(crate) at: Timestamp,
    /// Identifies the record with which the condition started.
    pub(crate) name: String,
}

/// The durations that govern a condition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) holds: Duration,
    /// For how long the condition must be false before the alert clears.
    pub(crate) passes: Duration,
    pub(crate) cooldown: Duration,
}

impl SustainedCondition {
    /// Records that the condition holds at `at`. Returns the alert from `tell` if it has held for long
    /// enough.
    pub(crate) fn so(
        &mut self,
        at: Timestamp,
        limits: Limits,
        begun: impl FnOnce() -> Since,
        tell: impl FnOnce(&Since, f64) -> AlertRecord,
    ) -> Option<AlertRecord> {
        self.last_so = None;
        let since = self.since.get_or_insert_with(begun);
        // The clock may have been set back.
        since.at = since.at.min(at);
        let for_ms = at.ms_since(since.at);
        let cool = self.raised_at.is_none_or(|raised| at >= raised + limits.cooldown || at < raised);
        if self.raised.is_some() || !cool || for_ms < ms(limits.holds) {
            return None;
        }
        let alert = tell(since, for_ms as f64 / 1e3);
        self.raised_at = Some(at);
        self.raised = Some(alert.clone());
        Some(alert)
    }

    /// Records that the condition does not hold at `at`. Returns the cleared alert if that has lasted for
    /// long enough.
    pub(crate) fn not_so(
        &mut self,
        at: Timestamp,
        limits: Limits,
        frame: Option<FrameRef>,
    ) -> Option<AlertRecord> {
        self.since.as_ref()?;
        let last_so = *self.last_so.get_or_insert(at);
        if self.raised.is_some() && at >= last_so && at.ms_since(last_so) < ms(limits.passes) {
            return None;
        }
        self.since = None;
        self.last_so = None;
        self.raised.take().map(|alert| cleared(&alert, at, frame))
    }

    pub(crate) fn give_up(&mut self, at: Timestamp, why: &str) -> Option<AlertRecord> {
        self.since = None;
        self.raised.take().map(|alert| given_up(&alert, at, why))
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
