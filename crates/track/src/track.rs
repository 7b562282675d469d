//! The input and output of the tracker.

use lookout_schema::BBox;
use serde::{Deserialize, Serialize};

/// A track id, counted from 1 and unique within a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TrackId(pub u64);

/// A detection, reduced to the fields that the tracker needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// The box, in pixels of the source frame.
    pub bbox: BBox,
    /// The class; only detections of the same class belong to one track.
    pub class_id: u32,
    /// The score, 0 to 1.
    pub score: f32,
}

/// A tracked object.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// The track's id.
    pub id: TrackId,
    /// The object's class.
    pub class_id: u32,
    /// The filtered box of the object; the predicted box if `seen` is `None`.
    pub bbox: BBox,
    /// The velocity of the box's center, in pixels per second.
    pub velocity: [f32; 2],
    /// The score of the last matched detection.
    pub score: f32,
    /// The index of the matched observation in this frame; `None` if the position is predicted.
    pub seen: Option<usize>,
    /// The time of the first detection, in seconds of the session.
    pub first_s: f64,
    /// The time of the last detection, in seconds of the session.
    pub last_s: f64,
    /// The number of detections.
    pub hits: u32,
    /// Whether the track is output for the first time.
    pub is_new: bool,
}

/// A track that has ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackEnd {
    /// The track's id.
    pub id: TrackId,
    /// The object's class.
    pub class_id: u32,
    /// The time of the first detection, in seconds of the session.
    pub first_s: f64,
    /// The time of the last detection, in seconds of the session.
    pub last_s: f64,
    /// The number of detections.
    pub hits: u32,
}

/// The tracker's output for one frame.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrackerOutput {
    /// The tracks, ordered by id.
    pub tracks: Vec<Track>,
    /// The tracks that were output before and have ended.
    pub ended: Vec<TrackEnd>,
}

impl TrackerOutput {
    pub(crate) fn new(mut tracks: Vec<Track>, ended: Vec<TrackEnd>) -> Self {
        tracks.sort_unstable_by_key(|track| track.id);
        Self { tracks, ended }
    }
}
