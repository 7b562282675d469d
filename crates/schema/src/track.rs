//! Track records, on `<prefix>.tracks.v1`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BBox, CameraId, Clock, Epoch, SessionId, Size, Timestamp};

/// State of a track at one frame. `(camera, session, tracker, id)` identifies the track.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrackRecord {
    /// [`TrackRecord::SCHEMA`].
    pub schema: String,
    /// The camera.
    pub camera: CameraId,
    /// The `epoch` of the frame record.
    pub epoch: Epoch,
    /// The `session` of the frame record.
    pub session: SessionId,
    /// The consumer that tracks the object: `monitor`, `adas`, or another name.
    pub tracker: String,
    /// Number of the track within the session, from 1.
    pub id: u64,
    /// What has happened to the track.
    pub event: TrackEvent,
    /// The frame of this state; for `end`, the last frame that was processed before the track ended.
    pub seq: u64,
    /// When the frame was captured, by `clock`.
    pub captured_at: Timestamp,
    /// The clock of `captured_at`.
    pub clock: Clock,
    /// When this record was handed to the Kafka client.
    pub published_at: Timestamp,
    /// Time from `captured_at` to `published_at`.
    pub age_ms: i64,
    /// Index of the class in the network's output.
    pub class_id: u32,
    /// Name of the class.
    pub label: String,
    /// Score of the last detection, 0 to 1.
    pub score: f32,
    /// Size of the frame as it is displayed; `box` and `velocity` are in its pixels.
    pub source: Size,
    /// Box of the last detection, or the predicted box while the object is not detected.
    #[serde(rename = "box")]
    pub bbox: BBox,
    /// Velocity of the box's center, in pixels per second to the right and down.
    pub velocity: [f32; 2],
    /// Capture time of the first frame in which the object was detected.
    pub first_seen_at: Timestamp,
    /// Capture time of the last frame in which the object was detected.
    pub last_seen_at: Timestamp,
    /// Number of frames in which the object was detected.
    pub hits: u32,
    /// The zones that the object is in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<ZoneStay>,
    /// The lines that the object has crossed since its previous record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crossed: Vec<LineCrossing>,
}

impl TrackRecord {
    /// The value of `schema` in these records.
    pub const SCHEMA: &'static str = "lookout.track/1";
}

/// What has happened to a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrackEvent {
    /// The object was detected often enough for its track to be published.
    New,
    /// The track continues: published periodically, and when the object enters or leaves a zone or crosses a line.
    Update,
    /// The object was not detected for too long, or its session ended.
    End,
}

impl TrackEvent {
    /// Returns the name in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Update => "update",
            Self::End => "end",
        }
    }
}

/// An object is in a zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ZoneStay {
    /// Name of the zone.
    pub zone: String,
    /// How long the object has been in the zone.
    pub dwell_s: f64,
}

/// An object has crossed a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LineCrossing {
    /// Name of the line.
    pub line: String,
    /// Direction of the crossing.
    pub direction: LineDirection,
}

/// Direction in which a line is crossed, seen from its first point toward its second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "descriptions of the variants would change the form of the released schema")]
pub enum LineDirection {
    LeftToRight,
    RightToLeft,
}
