//! Rules: the conditions on records that raise alerts. Pure: records and the time are arguments, and the
//! state of a rule for a camera is data that is stored with the camera.

mod alert;
mod count;
mod dwell;
mod frame_input;
mod latency;
mod line;
mod sustained_condition;

pub(crate) mod down;

use lookout_config::{RuleKind, RuleSettings};
use lookout_schema::{AlertRecord, Timestamp};
use serde::{Deserialize, Serialize};

pub(crate) use self::{alert::CONSUMER, frame_input::FrameInput, sustained_condition::SustainedCondition};
use self::{dwell::Dwelling, latency::Late, line::Crossed};

/// The state of one rule for one camera or worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum RuleState {
    /// State of the rules for counts, and for a camera or a worker that is down.
    // The name under which stores have it.
    #[serde(rename = "Lasting")]
    Sustained(SustainedCondition),
    Crossed(Crossed),
    Dwelling(Dwelling),
    Late(Late),
}

impl RuleState {
    pub(crate) fn new(kind: &RuleKind) -> Self {
        match kind {
            RuleKind::Count { .. } | RuleKind::CameraDown { .. } | RuleKind::WorkerDown { .. } => {
                Self::Sustained(SustainedCondition::default())
            }
            RuleKind::Line { .. } => Self::Crossed(Crossed::default()),
            RuleKind::Dwell { .. } => Self::Dwelling(Dwelling::default()),
            RuleKind::Latency { .. } => Self::Late(Late::default()),
        }
    }

    /// Returns whether this is the state of a rule of `kind`; the configuration may have changed since it was
    /// stored.
    pub(crate) fn is_of(&self, kind: &RuleKind) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(&Self::new(kind))
    }

    /// Evaluates the rule for a frame.
    pub(crate) fn frame(&mut self, rule: &RuleSettings, scene: &FrameInput<'_>) -> Vec<AlertRecord> {
        match (self, &rule.kind) {
            (Self::Sustained(state), RuleKind::Count { .. }) => {
                count::step(state, rule, scene).into_iter().collect()
            }
            (Self::Crossed(state), RuleKind::Line { .. }) => state.step(rule, scene),
            (Self::Dwelling(state), RuleKind::Dwell { .. }) => state.step(rule, scene),
            (Self::Late(state), RuleKind::Latency { .. }) => state.step(rule, scene).into_iter().collect(),
            _ => Vec::new(),
        }
    }

    /// Cancels the open alerts, because the camera or the rule was removed.
    pub(crate) fn give_up(&mut self, at: Timestamp, why: &str) -> Vec<AlertRecord> {
        match self {
            Self::Sustained(state) => state.give_up(at, why).into_iter().collect(),
            Self::Crossed(_) => Vec::new(),
            Self::Dwelling(state) => state.give_up(at, why),
            Self::Late(state) => state.give_up(at, why).into_iter().collect(),
        }
    }
}
