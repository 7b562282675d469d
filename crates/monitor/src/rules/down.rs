//! Cameras that give no frames, and workers that give no sign of life. These rest on what did not come, so the time
//! is now, and not a record's; what names them is the last record that there was.

use std::time::Duration;

use lookout_config::{RuleKind, RuleSettings};
use lookout_schema::{AlertEvidence, AlertRecord, CameraId, CameraStatus, Timestamp, WorkerId};

use super::{
    Lasting,
    lasting::{Limits, Since},
    tell::{About, Said, raised},
};

/// A camera that gives no frames.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CameraDown {
    /// By our own clock.
    pub(crate) since: Timestamp,
    /// By the clock of the record that said so last.
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
    state: &mut Lasting,
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
        let said = Said {
            occasion: since.name.clone(),
            at: now,
            message: format!(
                "camera {camera} gives no frames for {for_s:.0} s, it is {}{why}",
                down.status.as_str()
            ),
            evidence: AlertEvidence::CameraDown { status: down.status, detail: down.detail.clone(), for_s },
        };
        raised(rule, About::Camera(camera), said)
    };
    state.so(now, limits, || since(down.since, down.said_at), tell)
}

/// `silent` are when it was heard of last by our own clock, and by its.
pub(crate) fn worker(
    state: &mut Lasting,
    rule: &RuleSettings,
    worker: &WorkerId,
    silent: Option<(Timestamp, Timestamp)>,
    now: Timestamp,
) -> Option<AlertRecord> {
    let RuleKind::WorkerDown { holds } = &rule.kind else { return None };
    let limits = limits(rule, *holds);
    let Some((heard_at, said_at)) = silent else { return state.not_so(now, limits, None) };
    let tell = |since: &Since, for_s: f64| {
        let said = Said {
            occasion: since.name.clone(),
            at: now,
            message: format!("worker {worker} says nothing for {for_s:.0} s"),
            evidence: AlertEvidence::WorkerDown { for_s },
        };
        raised(rule, About::Worker(worker), said)
    };
    state.so(now, limits, || since(heard_at, said_at), tell)
}
