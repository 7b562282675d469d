//! The alerts of one camera, from raised to cleared.

use std::{collections::BTreeMap, fmt::Write as _};

use lookout_schema::{
    AlertEvidence, AlertLevel, AlertRecord, AlertState, CameraId, CollisionEvidence, FrameRecord, FrameRef,
    ObjectRef, Timestamp,
};
use lookout_track::TrackId;

use super::NAME;
use crate::object::Object;

/// The only rule.
const RULE: &str = "collision";

/// The number of standard deviations of a 95 % interval.
const DEVIATIONS: f64 = 1.96;

#[derive(Debug)]
pub(super) struct Alerts {
    camera: CameraId,
    open: BTreeMap<TrackId, AlertRecord>,
}

/// An object with the frame in which it was detected.
#[derive(Debug, Clone, Copy)]
pub(super) struct Of<'a> {
    pub(super) id: TrackId,
    pub(super) object: &'a Object,
    pub(super) frame: &'a FrameRecord,
}

/// Why an alert is cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    Passed,
    OutOfSight,
    Unmeasured,
    NewSession,
    OtherClock,
    Stale,
    Silence,
    Left,
}

impl Over {
    fn words(self) -> &'static str {
        match self {
            Self::Passed => "the object no longer approaches or is out of path",
            Self::OutOfSight => "the object is no longer visible",
            Self::Unmeasured => "the object is cut off by the image border, so it cannot be measured",
            Self::NewSession => "the camera was reconnected",
            Self::OtherClock => "the camera's times disagree, so the time to collision is estimated again",
            Self::Stale => "the camera's records are too old for warnings",
            Self::Silence => "no more records are received from the camera",
            Self::Left => "this consumer no longer processes the camera",
        }
    }
}

impl Alerts {
    pub(super) fn new(camera: CameraId) -> Self {
        Self { camera, open: BTreeMap::new() }
    }

    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// Sets the current level of an object. Returns the alert record to publish, if the level changed.
    pub(super) fn set(&mut self, of: Of<'_>, level: Option<AlertLevel>) -> Option<AlertRecord> {
        let Some(level) = level else { return self.clear(of.id, Over::Passed, of.frame) };
        let level_before = self.open.get(&of.id).map(|alert| alert.level);
        let evidence = evidence(of)?;
        let message = message(&evidence);
        let Some(alert) = self.open.get_mut(&of.id) else {
            let alert = self.raised(of, level, evidence);
            self.open.insert(of.id, alert.clone());
            return Some(alert);
        };
        alert.evidence = AlertEvidence::Collision(evidence);
        if level_before == Some(level) {
            return None;
        }
        alert.version += 1;
        alert.state = AlertState::Changed;
        alert.level = level;
        alert.message = message;
        date(alert, of.frame);
        Some(alert.clone())
    }

    /// Moves the alert of an object to another track id.
    pub(super) fn inherit(&mut self, from: TrackId, to: TrackId) {
        if let Some(alert) = self.open.remove(&from) {
            self.open.insert(to, alert);
        }
    }

    /// Clears the alert of an object as of a frame.
    pub(super) fn clear(&mut self, id: TrackId, over: Over, frame: &FrameRecord) -> Option<AlertRecord> {
        let mut alert = cleared(self.open.remove(&id)?, over);
        date(&mut alert, frame);
        Some(alert)
    }

    /// Clears all alerts at `now`, without a frame that caused it.
    pub(super) fn clear_all(&mut self, over: Over, now: Timestamp) -> Vec<AlertRecord> {
        let open = std::mem::take(&mut self.open).into_values();
        open.map(|alert| AlertRecord { at: now, frame: None, ..cleared(alert, over) }).collect()
    }

    fn raised(&self, of: Of<'_>, level: AlertLevel, evidence: CollisionEvidence) -> AlertRecord {
        let Of { id, frame, .. } = of;
        AlertRecord {
            schema: AlertRecord::SCHEMA.into(),
            // The id contains the frame, because a consumer that takes over the camera counts its tracks from
            // 1 again.
            id: format!("{NAME}/{RULE}/{}/{}/{}/{}", self.camera, frame.session, id.0, frame.seq),
            version: 1,
            consumer: NAME.into(),
            rule: RULE.into(),
            state: AlertState::Raised,
            level,
            at: frame.captured_at,
            raised_at: frame.captured_at,
            published_at: frame.captured_at,
            age_ms: 0,
            camera: Some(self.camera.clone()),
            worker: None,
            frame: Some(named(frame)),
            message: message(&evidence),
            evidence: AlertEvidence::Collision(evidence),
        }
    }
}

fn named(frame: &FrameRecord) -> FrameRef {
    FrameRef { epoch: frame.epoch, session: frame.session, seq: frame.seq }
}

fn date(alert: &mut AlertRecord, frame: &FrameRecord) {
    alert.at = frame.captured_at;
    alert.frame = Some(named(frame));
}

fn cleared(mut alert: AlertRecord, over: Over) -> AlertRecord {
    alert.version += 1;
    alert.state = AlertState::Cleared;
    let label = match &alert.evidence {
        AlertEvidence::Collision(seen) => seen.object.label.as_str(),
        _ => "it",
    };
    alert.message = format!("{label}: warning cleared, {}", over.words());
    alert
}

/// Returns the evidence of an approaching object; `None` if the object does not approach.
fn evidence(of: Of<'_>) -> Option<CollisionEvidence> {
    let Of { id, object, .. } = of;
    let closing = object.closing()?;
    let distance = object.distance();
    Some(CollisionEvidence {
        object: ObjectRef {
            tracker: NAME.into(),
            id: id.0,
            label: object.label.clone(),
            score: object.score,
            bbox: object.bbox,
        },
        ttc_s: closing.ttc_s?,
        ttc_low_s: closing.soonest_s(DEVIATIONS)?,
        ttc_high_s: closing.latest_s(DEVIATIONS),
        observed_s: closing.observed_s,
        distance_m: distance.map(|(meters, _)| meters),
        closing_speed_m_s: distance.map(|(_, closing)| closing),
    })
}

fn message(seen: &CollisionEvidence) -> String {
    let CollisionEvidence { object, ttc_s, ttc_low_s, ttc_high_s, .. } = seen;
    let high = ttc_high_s.map_or_else(|| "never".into(), |high| format!("{high:.1}"));
    let mut words = format!(
        "{} in the vehicle's path, collision in {ttc_s:.1} s ({ttc_low_s:.1} to {high})",
        object.label
    );
    if let (Some(distance), Some(closing)) = (seen.distance_m, seen.closing_speed_m_s) {
        let _ = write!(words, ", {distance:.0} m away, closing at {closing:.0} m/s");
    }
    words
}
