//! Rule kind `camera_down`: a camera gives no frames. Absence can only be measured with the current time, so this rule
//! uses the local clock; the alert's id is derived from the last record that was received.

use std::time::Duration;

use lookout_config::Section;
use lookout_schema::{AlertEvidence, AlertRecord, Timestamp};

use super::{
    alert::{Content, raised},
    alert_subject::AlertSubject,
    condition::{Condition, Durations, Onset},
    rule::{Rule, RuleSettings, Subject},
};

/// A camera gives no frames for `hold`.
#[derive(Debug)]
pub(crate) struct CameraIsDown {
    hold: Duration,
}

/// The default duration of the rules for absence.
pub(super) const DEFAULT_HOLD: Duration = Duration::from_secs(30);

impl Rule for CameraIsDown {
    const KIND: &'static str = "camera_down";

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
        let Subject::Camera { id, down } = subject else { return Vec::new() };
        let durations = Durations { hold: self.hold, clear_after: Duration::ZERO, cooldown: rule.cooldown };
        let Some(down) = down else { return state.is_false(now, durations, None).into_iter().collect() };
        let alert = |onset: &Onset, for_s: f64| {
            let why = down.detail.as_ref().map_or(String::new(), |detail| format!(": {detail}"));
            let content = Content {
                occasion: onset.id.clone(),
                at: now,
                message: format!(
                    "camera {id} has sent no frames for {for_s:.0} s, its status is {}{why}",
                    down.status.as_str()
                ),
                evidence: AlertEvidence::CameraDown {
                    status: down.status,
                    detail: down.detail.clone(),
                    for_s,
                },
            };
            raised(rule, AlertSubject::Camera(id), content)
        };
        let onset = || Onset { at: down.since, id: down.last_record_at.as_unix_us().to_string() };
        state.holds(now, durations, onset, alert).into_iter().collect()
    }
}
