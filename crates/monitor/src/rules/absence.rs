//! Rule kind `absence`: fewer objects than required, such as an unattended desk.

use std::{collections::BTreeMap, time::Duration};

use lookout_config::Section;
use lookout_schema::{AlertEvidence, AlertRecord};

use super::{
    alert::{Content, raised},
    condition::{Condition, Durations, Onset},
    count::CLEAR_AFTER,
    frame_input::FrameInput,
    rule::{Rule, RuleSettings},
};

/// Fewer than `min_count` objects are in `zone`, or in the image, for `hold`.
#[derive(Debug)]
pub(crate) struct Absence {
    zone: Option<String>,
    labels: Vec<String>,
    min_count: u64,
    hold: Duration,
}

const DEFAULT_HOLD: Duration = Duration::from_secs(10);

impl Rule for Absence {
    const KIND: &'static str = "absence";

    type State = Condition;

    fn read(section: &Section<'_, '_>) -> Option<Self> {
        Some(Self {
            zone: section.text("zone"),
            labels: section.texts("labels").unwrap_or_default(),
            min_count: section.integer("min_count", 1..=10_000).unwrap_or(1),
            hold: section.seconds("for_s").unwrap_or(DEFAULT_HOLD),
        })
    }

    fn frame(&self, state: &mut Condition, rule: &RuleSettings, scene: &FrameInput<'_>) -> Vec<AlertRecord> {
        let Self { zone, labels, min_count, hold } = self;
        let durations = Durations { hold: *hold, clear_after: CLEAR_AFTER, cooldown: rule.cooldown };
        let count = scene.count(zone.as_deref(), labels);
        let at = scene.at();
        if count >= *min_count {
            return state.is_false(at, durations, Some(scene.frame_ref())).into_iter().collect();
        }
        let counted = scene.describe_counted(zone.as_deref(), labels);
        let alert = |onset: &Onset, for_s: f64| {
            let numbers = [("count", count as f64), ("min_count", *min_count as f64), ("for_s", for_s)];
            let content = Content {
                occasion: onset.id.clone(),
                at,
                message: format!("{count} {counted}, fewer than {min_count} for {for_s:.1} s"),
                evidence: AlertEvidence::Other {
                    rule_kind: Self::KIND.into(),
                    numbers: numbers.map(|(name, number)| (name.to_owned(), number)).into(),
                    texts: zone
                        .iter()
                        .map(|zone| ("zone".to_owned(), zone.clone()))
                        .collect::<BTreeMap<_, _>>(),
                    object: None,
                },
            };
            raised(rule, scene.subject(), content)
        };
        state.holds(at, durations, || Onset { at, id: scene.frame_id() }, alert).into_iter().collect()
    }
}
