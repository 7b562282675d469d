//! Rule: objects that stay in a zone for too long.

use std::collections::BTreeMap;

use lookout_config::{RuleKind, RuleSettings};
use lookout_schema::{AlertEvidence, AlertRecord, Timestamp};
use lookout_track::Visit;
use serde::{Deserialize, Serialize};

use super::{
    FrameInput,
    alert::{AlertContent, cleared, given_up, object, raised},
};

/// The open dwell alerts, by zone and track id.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Dwelling {
    raised: BTreeMap<String, BTreeMap<u64, AlertRecord>>,
    last: Option<Timestamp>,
}

impl Dwelling {
    pub(super) fn step(&mut self, rule: &RuleSettings, scene: &FrameInput<'_>) -> Vec<AlertRecord> {
        let RuleKind::Dwell { zone: wanted, labels, holds } = &rule.kind else { return Vec::new() };
        let at = scene.at();
        let mut alerts = self.leave(scene);
        for (zone, visits) in scene.follower.zones() {
            if wanted.as_ref().is_some_and(|wanted| wanted != zone) {
                continue;
            }
            for visit in visits.filter(|visit| visit.dwell_s() >= holds.as_secs_f64()) {
                let told = self.raised.get(zone).is_some_and(|told| told.contains_key(&visit.id.0));
                let cool = self.last.is_none_or(|last| at < last || at >= last + rule.cooldown);
                let Some(alert) = (!told && cool).then(|| tell(rule, scene, (zone, visit), labels)).flatten()
                else {
                    continue;
                };
                self.last = Some(at);
                self.raised.entry(zone.to_owned()).or_default().insert(visit.id.0, alert.clone());
                alerts.push(alert);
            }
        }
        alerts
    }

    /// Clears the alerts of objects that have left the zone.
    fn leave(&mut self, scene: &FrameInput<'_>) -> Vec<AlertRecord> {
        if self.raised.is_empty() {
            return Vec::new();
        }
        let mut inside: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        // Track ids restart with a session, so all alerts of the previous session clear.
        if !scene.sight.began {
            inside.extend(
                scene.follower.zones().map(|(zone, visits)| (zone, visits.map(|v| v.id.0).collect())),
            );
        }
        let mut ended = Vec::new();
        for (zone, told) in &mut self.raised {
            let there = inside.get(zone.as_str());
            let gone = told.extract_if(.., |id, _| there.is_none_or(|there| !there.contains(id)));
            ended.extend(gone.map(|(_, alert)| cleared(&alert, scene.at(), Some(scene.frame_ref()))));
        }
        self.raised.retain(|_, told| !told.is_empty());
        ended
    }

    pub(super) fn give_up(&mut self, at: Timestamp, why: &str) -> Vec<AlertRecord> {
        let raised = std::mem::take(&mut self.raised);
        raised.into_values().flat_map(BTreeMap::into_values).map(|alert| given_up(&alert, at, why)).collect()
    }
}

fn tell(
    rule: &RuleSettings,
    scene: &FrameInput<'_>,
    (zone, visit): (&str, &Visit),
    labels: &[String],
) -> Option<AlertRecord> {
    let track = scene.wanted(visit.id, labels)?;
    let dwell_s = visit.dwell_s();
    let said = AlertContent {
        occasion: format!("{}/{}/{:.0}/{zone}", scene.frame.session, track.id, visit.from_s * 1e3),
        at: scene.at(),
        message: format!("{} has been in zone {zone} of {} for {dwell_s:.0} s", track.label, scene.camera()),
        evidence: AlertEvidence::Dwell { zone: zone.to_owned(), dwell_s, object: object(track) },
    };
    Some(raised(rule, scene.about(), said))
}
