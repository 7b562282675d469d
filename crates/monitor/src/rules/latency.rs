//! Rule: records that arrive too late.

use lookout_config::{RuleKind, RuleSettings};
use lookout_schema::{AlertEvidence, AlertRecord, Clock, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    FrameInput, SustainedCondition,
    alert::{AlertContent, raised},
    count::PASSES,
    sustained_condition::{Limits, Since},
};

/// The smoothed age of a camera's records, so that a single late frame does not raise an alert.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Late {
    age_ms: Option<f64>,
    last: Option<Timestamp>,
    lasting: SustainedCondition,
}

/// Time constant of the smoothing, in seconds.
const SMOOTH_S: f64 = 1.0;

impl Late {
    pub(super) fn step(&mut self, rule: &RuleSettings, scene: &FrameInput<'_>) -> Option<AlertRecord> {
        let RuleKind::Latency { budget, holds } = &rule.kind else { return None };
        // The capture times of a file are its stream time, so its frames have no meaningful age.
        if scene.frame.clock == Clock::File {
            return None;
        }
        let at = scene.at();
        let age_ms = self.smooth(at, scene.frame.age_ms as f64);
        let limits = Limits { holds: *holds, passes: PASSES, cooldown: rule.cooldown };
        let budget_ms = i64::try_from(budget.as_millis()).unwrap_or(i64::MAX);
        if age_ms <= budget_ms {
            return self.lasting.not_so(at, limits, Some(scene.frame_ref()));
        }
        let tell = |since: &Since, for_s: f64| {
            let said = AlertContent {
                occasion: since.name.clone(),
                at,
                message: format!(
                    "records of {} are {age_ms} ms old, more than {budget_ms} ms for {for_s:.0} s",
                    scene.camera()
                ),
                evidence: AlertEvidence::Latency { age_ms, budget_ms, for_s },
            };
            raised(rule, scene.about(), said)
        };
        self.lasting.so(at, limits, || Since { at, name: scene.name() }, tell)
    }

    fn smooth(&mut self, at: Timestamp, age_ms: f64) -> i64 {
        let since_s = self.last.map_or(0.0, |last| at.ms_since(last).max(0) as f64 / 1e3);
        let part = 1.0 - (-since_s / SMOOTH_S).exp();
        let smooth = self.age_ms.map_or(age_ms, |before| before + part * (age_ms - before));
        self.age_ms = Some(smooth);
        self.last = Some(at);
        smooth as i64
    }

    pub(super) fn give_up(&mut self, at: Timestamp, why: &str) -> Option<AlertRecord> {
        self.lasting.give_up(at, why)
    }
}
