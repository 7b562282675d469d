//! The rules of one camera or worker, with their states.

use std::{collections::BTreeMap, sync::Arc};

use lookout_config::RuleSubject;
use lookout_schema::{AlertRecord, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    frame_input::FrameInput,
    kinds::KINDS,
    rule::{ActiveRule, Evaluate, RuleSettings, StoredState, Subject},
};

/// The rules of one camera or worker, by name.
#[derive(Debug, Default)]
pub(crate) struct ActiveRules {
    active: BTreeMap<String, ActiveRule>,
    /// States from the store that no rule has resumed yet.
    stored: BTreeMap<String, StoredState>,
}

impl ActiveRules {
    /// Starts the rules of `rules` that apply to the camera or worker `id`. Rules whose state was stored resume with it.
    /// Returns the alerts of rules that are gone, cancelled.
    pub(crate) fn set(
        &mut self,
        rules: &[RuleSettings],
        (subject, id): (RuleSubject, &str),
        now: Timestamp,
    ) -> Vec<AlertRecord> {
        let applies = |rule: &&RuleSettings| {
            rule.kind.subject() == subject && rule.applies_to.iter().any(|pattern| pattern.matches(id))
        };
        for rule in rules.iter().filter(applies) {
            let stored = self.stored.remove(&rule.name);
            self.active.insert(rule.name.clone(), Arc::clone(&rule.kind).start(stored));
        }
        let gone = std::mem::take(&mut self.stored).into_values();
        gone.flat_map(|stored| {
            KINDS.iter().flat_map(move |kind| kind.cancel(&stored, now, "the rule was removed"))
        })
        .collect()
    }

    pub(crate) fn frame(&mut self, rules: &[RuleSettings], scene: &FrameInput<'_>) -> Vec<AlertRecord> {
        self.each(rules, |rule, settings| rule.frame(settings, scene))
    }

    pub(crate) fn tick(
        &mut self,
        rules: &[RuleSettings],
        subject: Subject<'_>,
        now: Timestamp,
    ) -> Vec<AlertRecord> {
        self.each(rules, |rule, settings| rule.tick(settings, subject, now))
    }

    fn each(
        &mut self,
        rules: &[RuleSettings],
        mut evaluate: impl FnMut(&mut dyn Evaluate, &RuleSettings) -> Vec<AlertRecord>,
    ) -> Vec<AlertRecord> {
        let mut alerts = Vec::new();
        for settings in rules {
            if let Some(rule) = self.active.get_mut(&settings.name) {
                alerts.append(&mut evaluate(rule.0.as_mut(), settings));
            }
        }
        alerts
    }

    /// Cancels all open alerts because of `why`.
    pub(crate) fn cancel(&mut self, at: Timestamp, why: &str) -> Vec<AlertRecord> {
        self.active.values_mut().flat_map(|rule| rule.0.cancel(at, why)).collect()
    }
}

/// As a map from the rule's name to its [`StoredState`].
impl Serialize for ActiveRules {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let stored = self.active.iter().map(|(name, rule)| Ok((name, rule.0.stored()?)));
        let stored: Result<BTreeMap<_, _>, rmp_serde::encode::Error> = stored.collect();
        stored.map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ActiveRules {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { active: BTreeMap::new(), stored: BTreeMap::deserialize(deserializer)? })
    }
}
