//! The state of one worker.

use std::collections::BTreeMap;

use lookout_config::{RuleKind, RuleSettings};
use lookout_schema::{AlertRecord, Timestamp, WorkerId, WorkerState, WorkerStatusRecord};
use serde::{Deserialize, Serialize};

use super::{applied_offsets::AppliedOffsets, liveness::Liveness, outbound::Outbound};
use crate::rules::{SustainedCondition, down};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Worker {
    pub(crate) heard: AppliedOffsets,
    pub(crate) status: WorkerStatusRecord,
    pub(crate) pulse: Liveness,
    rules: BTreeMap<String, SustainedCondition>,
    #[serde(skip)]
    pub(crate) dirty: bool,
    /// Whether its results are part of the next commit, so that its whole state must be, too.
    #[serde(skip)]
    pub(crate) due: bool,
}

impl Worker {
    pub(crate) fn new(status: WorkerStatusRecord, rules: &[RuleSettings]) -> Self {
        let mut worker = Self {
            heard: AppliedOffsets::default(),
            status,
            pulse: Liveness::default(),
            rules: BTreeMap::new(),
            dirty: true,
            due: false,
        };
        worker.go_on(rules, Timestamp::from_unix_us(0));
        worker
    }

    pub(crate) fn id(&self) -> &WorkerId {
        &self.status.worker
    }

    /// Resumes with the current rules. Returns the alerts of removed rules, cancelled.
    pub(crate) fn go_on(&mut self, rules: &[RuleSettings], now: Timestamp) -> Vec<AlertRecord> {
        let mut kept = BTreeMap::new();
        for rule in rules.iter().filter(|rule| matches!(rule.kind, RuleKind::WorkerDown { .. })) {
            if rule.of.iter().any(|of| of.matches(self.id().as_str())) {
                kept.insert(rule.name.clone(), self.rules.remove(&rule.name).unwrap_or_default());
            }
        }
        let gone = std::mem::replace(&mut self.rules, kept);
        gone.into_values().filter_map(|mut state| state.give_up(now, "the rule was removed")).collect()
    }

    pub(crate) fn hear(&mut self, status: WorkerStatusRecord, now: Timestamp) {
        let same = self.status.state == status.state;
        self.pulse.beat(status.at, now, same);
        self.status = status;
        self.dirty = true;
    }

    /// Returns whether status records are missing although the worker has not reported that it stopped.
    pub(crate) fn is_silent(&self, now: Timestamp) -> bool {
        self.status.state != WorkerState::Stopped && self.pulse.is_silent(now)
    }

    pub(crate) fn judge(&mut self, rules: &[RuleSettings], now: Timestamp, outbound: &mut Outbound) {
        let silent = self.is_silent(now).then_some((self.pulse.heard_at, self.pulse.said_at));
        for rule in rules {
            if let Some(state) = self.rules.get_mut(&rule.name)
                && let Some(alert) = down::worker(state, rule, &self.status.worker, silent, now)
            {
                self.dirty = true;
                self.due = true;
                outbound.alerts.push(alert);
            }
        }
    }

    pub(crate) fn give_up(&mut self, now: Timestamp, outbound: &mut Outbound) {
        let states = self.rules.values_mut();
        outbound.alerts.extend(states.filter_map(|state| state.give_up(now, "the worker was removed")));
    }
}
