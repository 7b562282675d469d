//! The state of one worker.

use lookout_config::RuleSubject;
use lookout_schema::{AlertRecord, Timestamp, WorkerId, WorkerState, WorkerStatusRecord};
use serde::{Deserialize, Serialize};

use super::{applied_offsets::AppliedOffsets, liveness::Liveness, outbound::Outbound};
use crate::rules::{ActiveRules, RuleSettings, Subject};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Worker {
    pub(crate) applied_offsets: AppliedOffsets,
    pub(crate) status: WorkerStatusRecord,
    pub(crate) pulse: Liveness,
    rules: ActiveRules,
    #[serde(skip)]
    pub(crate) dirty: bool,
    /// Whether its results are part of the next commit, so that its whole state must be, too.
    #[serde(skip)]
    pub(crate) due: bool,
}

impl Worker {
    pub(crate) fn new(status: WorkerStatusRecord, rules: &[RuleSettings]) -> Self {
        let mut worker = Self {
            applied_offsets: AppliedOffsets::default(),
            status,
            pulse: Liveness::default(),
            rules: ActiveRules::default(),
            dirty: true,
            due: false,
        };
        worker.resume(rules, Timestamp::from_unix_us(0));
        worker
    }

    pub(crate) fn id(&self) -> &WorkerId {
        &self.status.worker
    }

    /// Resumes with the current rules. Returns the alerts of removed rules, cancelled.
    pub(crate) fn resume(&mut self, rules: &[RuleSettings], now: Timestamp) -> Vec<AlertRecord> {
        self.rules.set(rules, (RuleSubject::Worker, self.status.worker.as_str()), now)
    }

    pub(crate) fn apply(&mut self, status: WorkerStatusRecord, now: Timestamp) {
        let same = self.status.state == status.state;
        self.pulse.beat(status.at, now, same);
        self.status = status;
        self.dirty = true;
    }

    /// Returns whether status records are missing although the worker has not reported that it stopped.
    pub(crate) fn is_silent(&self, now: Timestamp) -> bool {
        self.status.state != WorkerState::Stopped && self.pulse.is_silent(now)
    }

    /// Evaluates the rules that depend on the time.
    pub(crate) fn tick(&mut self, rules: &[RuleSettings], now: Timestamp, outbound: &mut Outbound) {
        let silent = self.is_silent(now).then_some((self.pulse.received_at, self.pulse.record_at));
        let subject = Subject::Worker { id: &self.status.worker, silent };
        let mut alerts = self.rules.tick(rules, subject, now);
        self.dirty |= !alerts.is_empty();
        self.due |= !alerts.is_empty();
        outbound.alerts.append(&mut alerts);
    }

    pub(crate) fn give_up(&mut self, now: Timestamp, outbound: &mut Outbound) {
        outbound.alerts.append(&mut self.rules.cancel(now, "the worker was removed"));
    }
}
