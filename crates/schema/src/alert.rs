//! Alert records, on `<prefix>.alerts.v1`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BBox, CameraId, CameraStatus, Epoch, LineDirection, SessionId, Timestamp, WorkerId};

/// An alert was raised, has changed its level, or was cleared. All records of an alert have the same `id`; the last one
/// has its current state. The Kafka key is the id of the camera or the worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AlertRecord {
    /// [`AlertRecord::SCHEMA`].
    pub schema: String,
    /// Permanent id of the alert. It is derived from the event, so that a repeated report has the same id.
    pub id: String,
    /// Number of the record within the alert, from 1. `(id, version)` identifies a record; the higher one is later.
    pub version: u32,
    /// The consumer that published the alert: `monitor`, `adas`, or another name.
    pub consumer: String,
    /// The name of the rule.
    pub rule: String,
    /// What has happened to the alert.
    pub state: AlertState,
    /// Severity.
    pub level: AlertLevel,
    /// When the event occurred, by the clock of the record that shows it.
    pub at: Timestamp,
    /// When the alert was raised.
    pub raised_at: Timestamp,
    /// When this record was handed to the Kafka client.
    pub published_at: Timestamp,
    /// Time from `at` to `published_at`.
    pub age_ms: i64,
    /// The camera, if the alert is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera: Option<CameraId>,
    /// The worker, if the alert is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// The frame that caused this record, if a frame did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<FrameRef>,
    /// Description of the alert for people.
    pub message: String,
    /// The measurements that caused the alert.
    pub evidence: AlertEvidence,
}

impl AlertRecord {
    /// The value of `schema` in these records.
    pub const SCHEMA: &'static str = "lookout.alert/1";
}

/// Identifies a frame of a camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FrameRef {
    /// The `epoch` of the frame record.
    pub epoch: Epoch,
    /// The `session` of the frame record.
    pub session: SessionId,
    /// The `seq` of the frame record.
    pub seq: u64,
}

/// State of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// The alert is new.
    Raised,
    /// Its level has changed.
    Changed,
    /// The condition no longer holds. Alerts of momentary events, such as a line crossing, are never cleared.
    Cleared,
}

impl AlertState {
    /// Returns the name in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Changed => "changed",
            Self::Cleared => "cleared",
        }
    }
}

/// Severity of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertLevel {
    /// For information only.
    Info,
    /// Should be checked.
    Warning,
    /// Requires immediate action.
    Critical,
}

impl AlertLevel {
    /// All levels, from the lowest to the highest.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// Returns the name in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// The evidence for an alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AlertEvidence {
    /// An object in the vehicle's path is approaching. Advisory only.
    Collision(CollisionEvidence),
    /// More objects than `limit` are in a zone, or in the image if no zone is given.
    Count {
        /// Name of the zone; absent for the whole image.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<String>,
        /// Number of objects.
        count: u64,
        /// The highest number that raises no alert.
        limit: u64,
        /// How long the condition has held.
        for_s: f64,
    },
    /// An object has crossed a line.
    Line {
        /// Name of the line.
        line: String,
        /// Direction of the crossing.
        direction: LineDirection,
        /// The object that crossed the line.
        object: ObjectRef,
    },
    /// An object has stayed in a zone.
    Dwell {
        /// Name of the zone.
        zone: String,
        /// How long the object has been in the zone.
        dwell_s: f64,
        /// The object in the zone.
        object: ObjectRef,
    },
    /// A camera delivers no frames.
    CameraDown {
        /// The last known status of the camera.
        status: CameraStatus,
        /// Description of the error.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
        /// How long the camera has delivered no frames.
        for_s: f64,
    },
    /// No status records are received from a worker.
    WorkerDown {
        /// How long no status record was received.
        for_s: f64,
    },
    /// A camera's records are older than `budget_ms`.
    Latency {
        /// Age of the records when they were published.
        age_ms: i64,
        /// The configured limit of the age.
        budget_ms: i64,
        /// How long the condition has held.
        for_s: f64,
    },
    /// The evidence of any other kind of rule, by name.
    Other {
        /// The kind of the rule.
        rule_kind: String,
        /// Numbers, such as `count`.
        numbers: BTreeMap<String, f64>,
        /// Texts, such as `zone`.
        texts: BTreeMap<String, String>,
        /// The object, if the alert is about a single one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        object: Option<ObjectRef>,
    },
}

impl AlertEvidence {
    /// Returns the value of the field `kind` in JSON.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Collision(_) => "collision",
            Self::Count { .. } => "count",
            Self::Line { .. } => "line",
            Self::Dwell { .. } => "dwell",
            Self::CameraDown { .. } => "camera_down",
            Self::WorkerDown { .. } => "worker_down",
            Self::Latency { .. } => "latency",
            Self::Other { .. } => "other",
        }
    }
}

/// An object, as published on `lookout.tracks.v1`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectRef {
    /// The track's `tracker` and `id`, in the session of the alert's `frame`.
    pub tracker: String,
    /// Number of the track within the session.
    pub id: u64,
    /// Class name of the object.
    pub label: String,
    /// Score of the last detection, 0 to 1.
    pub score: f32,
    /// Box of the object in the alert's `frame`.
    #[serde(rename = "box")]
    pub bbox: BBox,
}

/// Estimated time to collision with an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CollisionEvidence {
    /// The approaching object.
    pub object: ObjectRef,
    /// Time to collision, if neither the object nor the vehicle changes its speed.
    pub ttc_s: f64,
    /// Lower bound of the 95 % interval of `ttc_s`.
    pub ttc_low_s: f64,
    /// Upper bound of the 95 % interval of `ttc_s`; null if the object may not be approaching at all.
    #[serde(default)]
    pub ttc_high_s: Option<f64>,
    /// How long the object has been tracked.
    pub observed_s: f64,
    /// Distance along the ground, if the camera's height, pitch and focal length are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distance_m: Option<f64>,
    /// Closing speed; above 0 if the object is approaching.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closing_speed_m_s: Option<f64>,
}
