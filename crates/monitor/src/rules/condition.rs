//! Conditions that must hold for a time before an alert is raised, and be false for a time before it clears.

use std::time::Duration;

use lookout_schema::{AlertRecord, FrameRef, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    alert::{cancelled, cleared},
    rule::RuleState,
};

/// The state of a condition that raises an alert once it has held for long enough.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Condition {
    onset: Option<Onset>,
    /// The time at which the condition became false, if it is false while `onset` is still set.
    false_since: Option<Timestamp>,
    raised: Option<AlertRecord>,
    /// When an alert was last raised.
    raised_at: Option<Timestamp>,
}

/// The start of the condition.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Onset {
    pub(crate) at: Timestamp,
    /// Identifies the record with which the condition started.
    pub(crate) id: String,
}

/// The durations that govern a condition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Durations {
    /// For how long the condition must hold before the alert is raised.
    pub(crate) hold: Duration,
    /// For how long the condition must be false before the alert clears.
    pub(crate) clear_after: Duration,
    pub(crate) cooldown: Duration,
}

impl Condition {
    /// Records that the condition holds at `at`. Returns the alert, which `alert` creates from the start and the
    /// duration in seconds, if it has held for long enough.
    pub(crate) fn holds(
        &mut self,
        at: Timestamp,
        durations: Durations,
        onset: impl FnOnce() -> Onset,
        alert: impl FnOnce(&Onset, f64) -> AlertRecord,
    ) -> Option<AlertRecord> {
        self.false_since = None;
        let onset = self.onset.get_or_insert_with(onset);
        // The clock may have been set back.
        onset.at = onset.at.min(at);
        let for_ms = at.ms_since(onset.at);
        let cool = self.raised_at.is_none_or(|raised| at >= raised + durations.cooldown || at < raised);
        if self.raised.is_some() || !cool || for_ms < ms(durations.hold) {
            return None;
        }
        let alert = alert(onset, for_ms as f64 / 1e3);
        self.raised_at = Some(at);
        self.raised = Some(alert.clone());
        Some(alert)
    }

    /// Records that the condition is false at `at`. Returns the cleared alert if that has lasted for long enough.
    pub(crate) fn is_false(
        &mut self,
        at: Timestamp,
        durations: Durations,
        frame: Option<FrameRef>,
    ) -> Option<AlertRecord> {
        self.onset.as_ref()?;
        let false_since = *self.false_since.get_or_insert(at);
        let brief = at >= false_since && at.ms_since(false_since) < ms(durations.clear_after);
        if self.raised.is_some() && brief {
            return None;
        }
        self.onset = None;
        self.false_since = None;
        self.raised.take().map(|alert| cleared(&alert, at, frame))
    }
}

impl RuleState for Condition {
    fn cancel(&mut self, at: Timestamp, why: &str) -> Vec<AlertRecord> {
        self.onset = None;
        self.raised.take().map(|alert| cancelled(&alert, at, why)).into_iter().collect()
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
