//! The record of something that people want to be told, on `<prefix>.alerts.v1`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BBox, CameraId, CameraStatus, Epoch, LineDirection, SessionId, Timestamp, WorkerId};

/// Something has happened, changed or passed. The records of one alert share their `id`; its last one says how it
/// is now. The key is the camera's or the worker's id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AlertRecord {
    /// [`AlertRecord::SCHEMA`].
    pub schema: String,
    /// Names the alert for ever. It is made from what it tells, so that telling it again gives the same.
    pub id: String,
    /// Counts the alert's records from 1: `(id, version)` names one, and of two the higher is the later.
    pub version: u32,
    /// Which consumer tells it: `monitor` or `adas`, or another's name.
    pub consumer: String,
    /// The rule's name.
    pub rule: String,
    pub state: AlertState,
    pub level: AlertLevel,
    /// When what it tells was so, by the clock of the record that says it.
    pub at: Timestamp,
    /// When the alert was raised first.
    pub raised_at: Timestamp,
    /// When this record was handed to the Kafka client.
    pub published_at: Timestamp,
    /// From `at` to `published_at`.
    pub age_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub camera: Option<CameraId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    /// The frame that it was raised, changed or cleared by, where it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<FrameRef>,
    /// The same in words, for people.
    pub message: String,
    pub evidence: AlertEvidence,
}

impl AlertRecord {
    pub const SCHEMA: &'static str = "lookout.alert/1";
}

/// Names a frame of a camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FrameRef {
    pub epoch: Epoch,
    pub session: SessionId,
    pub seq: u64,
}

/// Where an alert is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    Raised,
    /// Its level has changed.
    Changed,
    /// It is so no more. What happens at a moment, such as a crossing, is raised and never cleared.
    Cleared,
}

impl AlertState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Changed => "changed",
            Self::Cleared => "cleared",
        }
    }
}

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertLevel {
    /// Worth a line in a log.
    Info,
    /// Someone should look.
    Warning,
    /// Someone should act at once.
    Critical,
}

impl AlertLevel {
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// What an alert rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AlertEvidence {
    /// An object in the vehicle's path comes nearer. Advisory only.
    Collision(CollisionEvidence),
    /// More objects than the limit are in a zone, or in the picture where no zone is named.
    Count {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone: Option<String>,
        count: u64,
        limit: u64,
        /// For how long it has been so.
        for_s: f64,
    },
    /// An object has crossed a line.
    Line { line: String, direction: LineDirection, object: ObjectRef },
    /// An object stays in a zone.
    Dwell { zone: String, dwell_s: f64, object: ObjectRef },
    /// A camera gives no frames.
    CameraDown {
        status: CameraStatus,
        /// What went wrong, in words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
        for_s: f64,
    },
    /// A worker gives no sign of life.
    WorkerDown { for_s: f64 },
    /// A camera's records are older than they may be.
    Latency { age_ms: i64, budget_ms: i64, for_s: f64 },
}

impl AlertEvidence {
    /// The `kind` in its JSON.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Collision(_) => "collision",
            Self::Count { .. } => "count",
            Self::Line { .. } => "line",
            Self::Dwell { .. } => "dwell",
            Self::CameraDown { .. } => "camera_down",
            Self::WorkerDown { .. } => "worker_down",
            Self::Latency { .. } => "latency",
        }
    }
}

/// An object, as `lookout.tracks.v1` tells of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectRef {
    /// The track's `tracker` and `id`, in the session of the alert's `frame`.
    pub tracker: String,
    pub id: u64,
    pub label: String,
    pub score: f32,
    #[serde(rename = "box")]
    pub bbox: BBox,
}

/// How soon an object is here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CollisionEvidence {
    pub object: ObjectRef,
    /// Time to collision, if neither side changes its speed.
    pub ttc_s: f64,
    /// Within which it lies with 95 % probability; none where the object may not come nearer at all.
    pub ttc_low_s: f64,
    #[serde(default)]
    pub ttc_high_s: Option<f64>,
    /// For how long the object has been watched.
    pub watched_s: f64,
    /// Along the ground, where the camera's height, pitch and focal length are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distance_m: Option<f64>,
    /// Above 0 where it comes nearer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closing_m_s: Option<f64>,
}
