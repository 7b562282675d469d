//! Rule: line crossings.

use lookout_config::{RuleKind, RuleSettings};
use lookout_schema::{AlertEvidence, AlertRecord, LineDirection, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    FrameInput,
    alert::{AlertContent, object, raised},
};

/// The time of the last alert, for the cooldown.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Crossed {
    last: Option<Timestamp>,
}

impl Crossed {
    pub(super) fn step(&mut self, rule: &RuleSettings, scene: &FrameInput<'_>) -> Vec<AlertRecord> {
        let RuleKind::Line { line: wanted, direction: way, labels } = &rule.kind else { return Vec::new() };
        let mut alerts = Vec::new();
        let at = scene.at();
        for (nth, (line, crossing)) in scene.sight.crossings.iter().enumerate() {
            let direction = crossing.direction;
            let concerns =
                wanted.as_ref().is_none_or(|wanted| wanted == line) && way.is_none_or(|way| way == direction);
            let Some(track) = scene.wanted(crossing.id, labels).filter(|_| concerns) else { continue };
            if self.last.is_some_and(|last| at >= last && at < last + rule.cooldown) {
                continue;
            }
            self.last = Some(at);
            let said = AlertContent {
                occasion: format!("{}/{nth}", scene.name()),
                at,
                message: format!(
                    "{} has crossed line {line} of {}, {}",
                    track.label,
                    scene.camera(),
                    words(direction)
                ),
                evidence: AlertEvidence::Line { line: line.clone(), direction, object: object(track) },
            };
            alerts.push(raised(rule, scene.about(), said));
        }
        alerts
    }
}

fn words(direction: LineDirection) -> &'static str {
    match direction {
        LineDirection::LeftToRight => "from left to right",
        LineDirection::RightToLeft => "from right to left",
    }
}
