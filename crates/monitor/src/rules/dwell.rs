//! Rule kind `dwell`: objects that stay in a zone for too long.

use std::{collections::BTreeMap, time::Duration};

use lookout_config::Section;
use lookout_schema::{AlertEvidence, AlertRecord, Timestamp};
use lookout_track::DwellInterval;
use serde::{Deserialize, Serialize};

use super::{
    alert::{Content, cancelled, cleared, object, raised},
    frame_input::FrameInput,
    rule::{Rule, RuleSettings, RuleState},
};

/// An object is in `zone`, or in any zone of the camera, for `hold`.
#[derive(Debug)]
pub(crate) struct Dwell {
    zone: Option<String>,
    labels: Vec<String>,
    hold: Duration,
}

/// The open dwell alerts, by zone and track id.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Dwelling {
    raised: BTreeMap<String, BTreeMap<u64, AlertRecord>>,
    last: Option<Timestamp>,
}

impl Rule for Dwell {
    const KIND: &'static str = "dwell";

    type State = Dwelling;

    fn read(section: &Section<'_, '_>) -> Option<Self> {
        section.need("for_s", "`for_s` is required: an object that stays longer raises an alert");
        let labels = section.texts("labels").unwrap_or_default();
        Some(Self { zone: section.text("zone"), labels, hold: section.seconds("for_s").unwrap_or_default() })
    }

    fn frame(&self, state: &mut Dwelling, rule: &RuleSettings, scene: &FrameInput<'_>) -> Vec<AlertRecord> {
        let at = scene.at();
        let mut alerts = state.clear_departed(scene);
        for (zone, visits) in scene.session_tracker.zones() {
            if self.zone.as_ref().is_some_and(|wanted| wanted != zone) {
                continue;
            }
            for visit in visits.filter(|visit| visit.dwell_s() >= self.hold.as_secs_f64()) {
                let is_open = state.raised.get(zone).is_some_and(|open| open.contains_key(&visit.id.0));
                let cool = state.last.is_none_or(|last| at < last || at >= last + rule.cooldown);
                let alert = (!is_open && cool).then(|| self.alert(rule, scene, (zone, visit))).flatten();
                let Some(alert) = alert else { continue };
                state.last = Some(at);
                state.raised.entry(zone.to_owned()).or_default().insert(visit.id.0, alert.clone());
                alerts.push(alert);
            }
        }
        alerts
    }
}

impl Dwell {
    fn alert(
        &self,
        rule: &RuleSettings,
        scene: &FrameInput<'_>,
        (zone, visit): (&str, &DwellInterval),
    ) -> Option<AlertRecord> {
        let track = scene.with_label(visit.id, &self.labels)?;
        let dwell_s = visit.dwell_s();
        let content = Content {
            occasion: format!("{}/{}/{:.0}/{zone}", scene.frame.session, track.id, visit.from_s * 1e3),
            at: scene.at(),
            message: format!(
                "{} has been in zone {zone} of {} for {dwell_s:.0} s",
                track.label,
                scene.camera()
            ),
            evidence: AlertEvidence::Dwell { zone: zone.to_owned(), dwell_s, object: object(track) },
        };
        Some(raised(rule, scene.subject(), content))
    }
}

impl Dwelling {
    /// Clears the alerts of objects that have left the zone.
    fn clear_departed(&mut self, scene: &FrameInput<'_>) -> Vec<AlertRecord> {
        if self.raised.is_empty() {
            return Vec::new();
        }
        let mut inside: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        // Track ids restart with a session, so all alerts of the previous session clear.
        if !scene.tracked.restarted {
            inside.extend(
                scene.session_tracker.zones().map(|(zone, visits)| (zone, visits.map(|v| v.id.0).collect())),
            );
        }
        let mut alerts = Vec::new();
        for (zone, open) in &mut self.raised {
            let present = inside.get(zone.as_str());
            let departed = open.extract_if(.., |id, _| present.is_none_or(|ids| !ids.contains(id)));
            alerts.extend(departed.map(|(_, alert)| cleared(&alert, scene.at(), Some(scene.frame_ref()))));
        }
        self.raised.retain(|_, open| !open.is_empty());
        alerts
    }
}

impl RuleState for Dwelling {
    fn cancel(&mut self, at: Timestamp, why: &str) -> Vec<AlertRecord> {
        let raised = std::mem::take(&mut self.raised);
        raised.into_values().flat_map(BTreeMap::into_values).map(|alert| cancelled(&alert, at, why)).collect()
    }
}
