//! What is so for some time, is told, and passes.

use std::time::Duration;

use lookout_schema::{AlertRecord, FrameRef, Timestamp};
use serde::{Deserialize, Serialize};

use super::tell::{cleared, given_up};

/// A condition that is told once it has been so for long enough.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Lasting {
    since: Option<Since>,
    /// When it was so last, where it is so no more.
    last_so: Option<Timestamp>,
    raised: Option<AlertRecord>,
    /// When it was raised last.
    raised_at: Option<Timestamp>,
}

/// When it began.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Since {
    pub(crate) at: Timestamp,
    /// Names the record that it began with.
    pub(crate) name: String,
}

/// How long it takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) holds: Duration,
    /// How long it is not to be so before it is over.
    pub(crate) passes: Duration,
    pub(crate) cooldown: Duration,
}

impl Lasting {
    /// It is so at `at`; gives the alert that `tell` makes where that has been so for long enough.
    pub(crate) fn so(
        &mut self,
        at: Timestamp,
        limits: Limits,
        begun: impl FnOnce() -> Since,
        tell: impl FnOnce(&Since, f64) -> AlertRecord,
    ) -> Option<AlertRecord> {
        self.last_so = None;
        let since = self.since.get_or_insert_with(begun);
        // A clock may be set back.
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

    /// It is not so at `at`; gives the end of its alert where that is over.
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
