//! Absence rules: cameras without frames, and workers without status records. Absence can only be measured
//! with the current time, so these rules use the local clock; the alert's id is derived from the last record
//! that was received.

use std::time::Duration;

use lookout_config::{RuleKind, RuleSettings};
use lookout_schema::{AlertEvidence, AlertRecord, CameraId, CameraStatus, Timestamp, WorkerId};

use super::{
    SustainedCondition,
    alert::{AlertContent, AlertSubject, raised},
    sustained_condition::{Limits, Since},
};

/// A camera that gives no frames.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CameraDown {
    /// The start of the condition, by the local clock.
    pub(crate) since: Timestamp,
    /// The time of the last record before the condition, by the record's clock.
    pub(crate) said_at: Timestamp,
    pub(crate) status: CameraStatus,
    pub(crate) detail: Option<String>,
}

fn limits(rule: &RuleSettings, holds: Duration) -> Limits {
    Limits { holds, passes: Duration::ZERO, cooldown: rule.cooldown }
}

fn since(at: Timestamp, said_at: Timestamp) -> Since {
    Since { at, name: said_at.as_unix_us().to_string() }
}

pub(crate) fn camera(
    state: &mut SustainedCondition,
    rule: &RuleSettings,
    camera: &CameraId,
    down: Option<&CameraDown>,
    now: Timestamp,
) -> Option<AlertRecord> {
    let RuleKind::CameraDown { holds } = &rule.kind else { return None };
    let limits = limits(rule, *holds);
    let Some(down) = down else { return state.not_so(now, limits, None) };
    let tell = |since: &Since, for_s: f64| {
        let why = down.detail.as_ref().map_or(String::new(), |detail| format!(": {detail}"));
        let said = AlertContent {
            occasion: since.name.clone(),
            at: now,
            message: format!(
                "camera {camera} has sent no frames for {for_s:.0} s, its status is {}{why}",
                down.status.as_str()
            ),
            evidence: AlertEvidence::CameraDown { status: down.status, detail: down.detail.clone(), for_s },
        };
        raised(rule, AlertSubject::Camera(camera), said)
    };
    state.so(now, limits, || since(down.since, down.said_at), tell)
}

/// Evaluates the rule for a worker. `silent` is the time of its last record by the local clock and by the
/// record's clock, if the worker is silent.
pub(crate) fn worker(
    state: &mut SustainedCondition,
    rule: &RuleSettings,
    worker: &WorkerId,
    silent: Option<(Timestamp, Timestamp)>,
    now: Timestamp,
) -> Option<AlertRecord> {
    let RuleKind::WorkerDown { holds } = &rule.kind else { return None };
    let limits = limits(rule, *holds);
    let Some((heard_at, said_at)) = silent else { return state.not_so(now, limits, None) };
    let tell = |since: &Since, for_s: f64| {
        let said = AlertContent {
            occasion: since.name.clone(),
            at: now,
            message: format!("worker {worker} has sent no status record for {for_s:.0} s"),
            evidence: AlertEvidence::WorkerDown { for_s },
        };
        raised(rule, AlertSubject::Worker(worker), said)
    };
    state.so(now, limits, || since(heard_at, said_at), tell)
}
