//! Rule: more objects than allowed.

use std::time::Duration;

use lookout_config::{RuleKind, RuleSettings};
use lookout_schema::{AlertEvidence, AlertRecord};

use super::{
    FrameInput, SustainedCondition,
    alert::{AlertContent, raised},
    sustained_condition::{Limits, Since},
};

/// For how long the condition must be false before the alert clears, so that a single missed detection does
/// not.
pub(super) const PASSES: Duration = Duration::from_secs(2);

pub(super) fn step(
    state: &mut SustainedCondition,
    rule: &RuleSettings,
    scene: &FrameInput<'_>,
) -> Option<AlertRecord> {
    let RuleKind::Count { zone, labels, over, holds } = &rule.kind else { return None };
    let limits = Limits { holds: *holds, passes: PASSES, cooldown: rule.cooldown };
    let count = count(scene, zone.as_deref(), labels);
    let at = scene.at();
    if count <= *over {
        return state.not_so(at, limits, Some(scene.frame_ref()));
    }
    let what = if labels.is_empty() { "objects".into() } else { labels.join(" or ") };
    let place = zone.as_ref().map_or("the image".into(), |zone| format!("zone {zone}"));
    let tell = |since: &Since, for_s: f64| {
        let said = AlertContent {
            occasion: since.name.clone(),
            at,
            message: format!(
                "{count} {what} in {place} of {}, more than {over} for {for_s:.1} s",
                scene.camera()
            ),
            evidence: AlertEvidence::Count { zone: zone.clone(), count, limit: *over, for_s },
        };
        raised(rule, scene.about(), said)
    };
    state.so(at, limits, || Since { at, name: scene.name() }, tell)
}

fn count(scene: &FrameInput<'_>, zone: Option<&str>, labels: &[String]) -> u64 {
    let Some(zone) = zone else {
        return scene.sight.tracks.iter().filter(|track| scene.wanted(track.id, labels).is_some()).count()
            as u64;
    };
    let inside = scene.follower.zones().filter(|(name, _)| *name == zone).flat_map(|(_, visits)| visits);
    inside.filter(|visit| scene.wanted(visit.id, labels).is_some()).count() as u64
}
