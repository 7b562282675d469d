//! Construction of alert records.

use lookout_schema::{AlertEvidence, AlertRecord, AlertState, FrameRef, ObjectRef, Timestamp, TrackRecord};
use sha2::{Digest, Sha256};

use super::{alert_subject::AlertSubject, rule::RuleSettings};

/// The `consumer` in the alert records of the monitor.
pub(crate) const CONSUMER: &str = "monitor";

/// Longer ids are replaced by their digest; see [`lookout_schema::MAX_NAME`].
const MAX_ID: usize = 200;

/// The content of an alert.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    /// Identifies this alert among all alerts of the rule for the same subject. It is derived from the
    /// records alone, so that a record that is read again gives the same alert id.
    pub(crate) occasion: String,
    pub(crate) at: Timestamp,
    pub(crate) message: String,
    pub(crate) evidence: AlertEvidence,
}

/// Creates a new alert.
pub(crate) fn raised(rule: &RuleSettings, subject: AlertSubject<'_>, content: Content) -> AlertRecord {
    let (camera, worker, frame) = match subject {
        AlertSubject::Frame(camera, frame) => (Some(camera.clone()), None, Some(frame)),
        AlertSubject::Camera(camera) => (Some(camera.clone()), None, None),
        AlertSubject::Worker(worker) => (None, Some(worker.clone()), None),
    };
    AlertRecord {
        schema: AlertRecord::SCHEMA.into(),
        id: id(&format!("{CONSUMER}/{}/{}/{}", rule.name, subject.id(), content.occasion)),
        version: 1,
        consumer: CONSUMER.into(),
        rule: rule.name.clone(),
        state: AlertState::Raised,
        level: rule.level,
        at: content.at,
        raised_at: content.at,
        // Set when the record is written.
        published_at: content.at,
        age_ms: 0,
        camera,
        worker,
        frame,
        message: content.message,
        evidence: content.evidence,
    }
}

/// Returns the cleared version of an alert, as of `at`.
pub(crate) fn cleared(alert: &AlertRecord, at: Timestamp, frame: Option<FrameRef>) -> AlertRecord {
    let for_s = at.ms_since(alert.raised_at).max(0) / 1000;
    AlertRecord {
        version: alert.version.saturating_add(1),
        state: AlertState::Cleared,
        at,
        published_at: at,
        frame,
        message: format!("cleared after {for_s} s: {}", alert.message),
        ..alert.clone()
    }
}

/// Returns the cleared version of an alert that is cancelled for the reason `why`.
pub(crate) fn cancelled(alert: &AlertRecord, at: Timestamp, why: &str) -> AlertRecord {
    AlertRecord { message: format!("{why}: {}", alert.message), ..cleared(alert, at, None) }
}

pub(crate) fn object(track: &TrackRecord) -> ObjectRef {
    ObjectRef {
        tracker: track.tracker.clone(),
        id: track.id,
        label: track.label.clone(),
        score: track.score,
        bbox: track.bbox,
    }
}

fn id(parts: &str) -> String {
    if parts.len() <= MAX_ID {
        return parts.to_owned();
    }
    format!("{CONSUMER}/{}", hex::encode(Sha256::digest(parts.as_bytes())))
}
