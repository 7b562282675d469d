//! Rule kind `worker_down`: a worker sends no status records. Like `camera_down`, it uses the local clock.

use std::time::Duration;

use lookout_config::{RuleSubject, Section};
use lookout_schema::{AlertEvidence, AlertRecord, Timestamp};

use super::{
    alert::{Content, raised},
    alert_subject::AlertSubject,
    camera_down::DEFAULT_HOLD,
    condition::{Condition, Durations, Onset},
    rule::{Rule, RuleSettings, Subject},
};

/// A worker sends no status records for `hold`.
#[derive(Debug)]
pub(crate) struct WorkerDown {
    hold: Duration,
}

impl Rule for WorkerDown {
    const KIND: &'static str = "worker_down";
    const SUBJECT: RuleSubject = RuleSubject::Worker;

    type State = Condition;

    fn read(section: &Section<'_, '_>) -> Option<Self> {
        Some(Self { hold: section.seconds("for_s").unwrap_or(DEFAULT_HOLD) })
    }

    fn tick(
        &self,
        state: &mut Condition,
        rule: &RuleSettings,
        subject: Subject<'_>,
        now: Timestamp,
    ) -> Vec<AlertRecord> {
        let Subject::Worker { id, silent } = subject else { return Vec::new() };
        let durations = Durations { hold: self.hold, clear_after: Duration::ZERO, cooldown: rule.cooldown };
        let Some((since, last_record_at)) = silent else {
            return state.is_false(now, durations, None).into_iter().collect();
        };
        let alert = |onset: &Onset, for_s: f64| {
            let content = Content {
                occasion: onset.id.clone(),
                at: now,
                message: format!("worker {id} has sent no status record for {for_s:.0} s"),
                evidence: AlertEvidence::WorkerDown { for_s },
            };
            raised(rule, AlertSubject::Worker(id), content)
        };
        let onset = || Onset { at: since, id: last_record_at.as_unix_us().to_string() };
        state.holds(now, durations, onset, alert).into_iter().collect()
    }
}
