//! Rule kind `latency`: records that arrive too late.

use std::time::Duration;

use lookout_config::Section;
use lookout_schema::{AlertEvidence, AlertRecord, Clock, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    alert::{Content, raised},
    condition::{Condition, Durations, Onset},
    count::CLEAR_AFTER,
    frame_input::FrameInput,
    rule::{Rule, RuleSettings, RuleState},
};

/// A camera's records are older than `budget` for `hold`.
#[derive(Debug)]
pub(crate) struct Latency {
    budget: Duration,
    hold: Duration,
}

/// The smoothed age of a camera's records, so that a single late frame does not raise an alert.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct SmoothedAge {
    age_ms: Option<f64>,
    last: Option<Timestamp>,
    condition: Condition,
}

/// Time constant of the smoothing, in seconds.
const SMOOTH_S: f64 = 1.0;
const DEFAULT_HOLD: Duration = Duration::from_secs(10);

impl Rule for Latency {
    const KIND: &'static str = "latency";

    type State = SmoothedAge;

    fn read(section: &Section<'_, '_>) -> Option<Self> {
        section.need("budget_ms", "`budget_ms` is required: the maximum age of records");
        let hold = section.seconds("for_s").unwrap_or(DEFAULT_HOLD);
        Some(Self { budget: section.millis("budget_ms", 1..=3_600_000)?, hold })
    }

    fn frame(
        &self,
        state: &mut SmoothedAge,
        rule: &RuleSettings,
        scene: &FrameInput<'_>,
    ) -> Vec<AlertRecord> {
        // The capture times of a file are its stream time, so its frames have no meaningful age.
        if scene.frame.clock == Clock::File {
            return Vec::new();
        }
        let at = scene.at();
        let age_ms = state.add(at, scene.frame.age_ms as f64);
        let durations = Durations { hold: self.hold, clear_after: CLEAR_AFTER, cooldown: rule.cooldown };
        let budget_ms = i64::try_from(self.budget.as_millis()).unwrap_or(i64::MAX);
        if age_ms <= budget_ms {
            return state.condition.is_false(at, durations, Some(scene.frame_ref())).into_iter().collect();
        }
        let alert = |onset: &Onset, for_s: f64| {
            let content = Content {
                occasion: onset.id.clone(),
                at,
                message: format!(
                    "records of {} are {age_ms} ms old, more than {budget_ms} ms for {for_s:.0} s",
                    scene.camera()
                ),
                evidence: AlertEvidence::Latency { age_ms, budget_ms, for_s },
            };
            raised(rule, scene.subject(), content)
        };
        let onset = || Onset { at, id: scene.frame_id() };
        state.condition.holds(at, durations, onset, alert).into_iter().collect()
    }
}

impl SmoothedAge {
    /// Adds the age of the record captured at `at`, and returns the smoothed age in milliseconds.
    fn add(&mut self, at: Timestamp, age_ms: f64) -> i64 {
        let since_s = self.last.map_or(0.0, |last| at.ms_since(last).max(0) as f64 / 1e3);
        let part = 1.0 - (-since_s / SMOOTH_S).exp();
        let smooth = self.age_ms.map_or(age_ms, |before| before + part * (age_ms - before));
        self.age_ms = Some(smooth);
        self.last = Some(at);
        smooth as i64
    }
}

impl RuleState for SmoothedAge {
    fn cancel(&mut self, at: Timestamp, why: &str) -> Vec<AlertRecord> {
        self.condition.cancel(at, why)
    }
}
