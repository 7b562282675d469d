//! Rule kind `count`: more objects than allowed.

use std::time::Duration;

use lookout_config::Section;
use lookout_schema::{AlertEvidence, AlertRecord};

use super::{
    alert::{Content, raised},
    condition::{Condition, Durations, Onset},
    frame_input::FrameInput,
    rule::{Rule, RuleSettings},
};

/// For how long a condition on frames must be false before its alert clears, so that a single missed detection does
/// not clear it.
pub(super) const CLEAR_AFTER: Duration = Duration::from_secs(2);

/// More than `threshold` objects are in `zone`, or in the image, for `hold`.
#[derive(Debug)]
pub(crate) struct Count {
    zone: Option<String>,
    labels: Vec<String>,
    threshold: u64,
    hold: Duration,
}

impl Rule for Count {
    const KIND: &'static str = "count";

    type State = Condition;

    fn read(section: &Section<'_, '_>) -> Option<Self> {
        section.need("threshold", "`threshold` is required: more objects than this raise an alert");
        let zone = section.text("zone");
        let labels = section.texts("labels").unwrap_or_default();
        let hold = section.seconds("for_s").unwrap_or_default();
        Some(Self { zone, labels, threshold: section.integer("threshold", 0..=10_000)?, hold })
    }

    fn frame(&self, state: &mut Condition, rule: &RuleSettings, scene: &FrameInput<'_>) -> Vec<AlertRecord> {
        let Self { zone, labels, threshold, hold } = self;
        let durations = Durations { hold: *hold, clear_after: CLEAR_AFTER, cooldown: rule.cooldown };
        let count = scene.count(zone.as_deref(), labels);
        let at = scene.at();
        if count <= *threshold {
            return state.is_false(at, durations, Some(scene.frame_ref())).into_iter().collect();
        }
        let counted = scene.describe_counted(zone.as_deref(), labels);
        let alert = |onset: &Onset, for_s: f64| {
            let content = Content {
                occasion: onset.id.clone(),
                at,
                message: format!("{count} {counted}, more than {threshold} for {for_s:.1} s"),
                evidence: AlertEvidence::Count { zone: zone.clone(), count, limit: *threshold, for_s },
            };
            raised(rule, scene.subject(), content)
        };
        state.holds(at, durations, || Onset { at, id: scene.frame_id() }, alert).into_iter().collect()
    }
}
