//! The record of an object that is followed, on `<prefix>.tracks.v1`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BBox, CameraId, Clock, Epoch, SessionId, Size, Timestamp};

/// What is known of one object as of one frame. `(camera, session, tracker, id)` names the object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrackRecord {
    /// [`TrackRecord::SCHEMA`].
    pub schema: String,
    pub camera: CameraId,
    pub epoch: Epoch,
    pub session: SessionId,
    /// Which consumer follows the object: `monitor` or `adas`, or another's name.
    pub tracker: String,
    /// Counts the session's objects from 1.
    pub id: u64,
    pub event: TrackEvent,
    /// The frame of which this is told; of an `end` the last frame that was looked at before it was given up.
    pub seq: u64,
    pub captured_at: Timestamp,
    pub clock: Clock,
    /// When this record was handed to the Kafka client.
    pub published_at: Timestamp,
    /// From `captured_at` to `published_at`.
    pub age_ms: i64,
    pub class_id: u32,
    pub label: String,
    /// Of the detection that it was last seen as, 0 to 1.
    pub score: f32,
    pub source: Size,
    /// Where it was last seen, or, between two sights of it, where it is expected.
    #[serde(rename = "box")]
    pub bbox: BBox,
    /// Of the box's center, in pixels a second to the right and down.
    pub velocity: [f32; 2],
    pub first_seen_at: Timestamp,
    pub last_seen_at: Timestamp,
    /// In how many frames it was seen.
    pub hits: u32,
    /// The zones that it stands in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<ZoneStay>,
    /// The lines that it has crossed since the record before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crossed: Vec<LineCrossing>,
}

impl TrackRecord {
    pub const SCHEMA: &'static str = "lookout.track/1";
}

/// What has happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrackEvent {
    /// It was seen often enough to be told.
    New,
    /// It is followed; told every so often, and when it enters or leaves a zone or crosses a line.
    Update,
    /// It is out of sight, or its session is over.
    End,
}

impl TrackEvent {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Update => "update",
            Self::End => "end",
        }
    }
}

/// An object stands in a zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ZoneStay {
    pub zone: String,
    /// For how long.
    pub dwell_s: f64,
}

/// An object has crossed a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LineCrossing {
    pub line: String,
    pub direction: LineDirection,
}

/// Which way a line is crossed, as seen by one who looks from its first point to its second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LineDirection {
    LeftToRight,
    RightToLeft,
}
