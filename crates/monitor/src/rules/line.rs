//! Rule kind `line`: line crossings.

use lookout_config::Section;
use lookout_schema::{AlertEvidence, AlertRecord, LineDirection, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    alert::{Content, object, raised},
    frame_input::FrameInput,
    rule::{Rule, RuleSettings, RuleState},
};

/// An object crosses `line`, or any line of the camera.
#[derive(Debug)]
pub(crate) struct LineCrossing {
    line: Option<String>,
    direction: Option<LineDirection>,
    labels: Vec<String>,
}

/// The time of the last alert, for the cooldown.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct LastAlert {
    at: Option<Timestamp>,
}

const DIRECTIONS: [(&str, LineDirection); 2] =
    [("left_to_right", LineDirection::LeftToRight), ("right_to_left", LineDirection::RightToLeft)];

impl Rule for LineCrossing {
    const KIND: &'static str = "line";

    type State = LastAlert;

    fn read(section: &Section<'_, '_>) -> Option<Self> {
        Some(Self {
            line: section.text("line"),
            direction: section.choice("direction", &DIRECTIONS),
            labels: section.texts("labels").unwrap_or_default(),
        })
    }

    fn frame(&self, state: &mut LastAlert, rule: &RuleSettings, scene: &FrameInput<'_>) -> Vec<AlertRecord> {
        let mut alerts = Vec::new();
        let at = scene.at();
        for (nth, (line, crossing)) in scene.tracked.crossings.iter().enumerate() {
            let direction = crossing.direction;
            let applies = self.line.as_ref().is_none_or(|wanted| wanted == line)
                && self.direction.is_none_or(|wanted| wanted == direction);
            let track = scene.with_label(crossing.id, &self.labels).filter(|_| applies);
            let Some(track) = track else { continue };
            if state.at.is_some_and(|last| at >= last && at < last + rule.cooldown) {
                continue;
            }
            state.at = Some(at);
            let content = Content {
                occasion: format!("{}/{nth}", scene.frame_id()),
                at,
                message: format!(
                    "{} has crossed line {line} of {}, {}",
                    track.label,
                    scene.camera(),
                    words(direction)
                ),
                evidence: AlertEvidence::Line { line: line.clone(), direction, object: object(track) },
            };
            alerts.push(raised(rule, scene.subject(), content));
        }
        alerts
    }
}

/// A crossing is an event, so there is no open alert.
impl RuleState for LastAlert {
    fn cancel(&mut self, _at: Timestamp, _why: &str) -> Vec<AlertRecord> {
        Vec::new()
    }
}

fn words(direction: LineDirection) -> &'static str {
    match direction {
        LineDirection::LeftToRight => "from left to right",
        LineDirection::RightToLeft => "from right to left",
    }
}
