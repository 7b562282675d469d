//! How objects are followed.

use serde::{Deserialize, Serialize};

/// Settings of a [`crate::Tracker`]. Scores are 0 to 1, overlaps are intersections over union, times seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrackerSettings {
    /// Detections that score as much as this are matched first, with all tracks.
    pub high_score: f32,
    /// Those below, down to this, only keep a track alive that was seen in the frame before (ByteTrack's second
    /// association); what scores less is not looked at.
    pub low_score: f32,
    /// A detection that matches nothing begins a track if it scores as much as this.
    pub new_score: f32,
    /// The overlap that a detection has to have with where its track is expected.
    pub min_overlap: f32,
    /// The same of the second association, which has the worse detections.
    pub min_overlap_low: f32,
    /// How many times an object is to be seen before it is told, unless the track is of the session's first
    /// frame.
    pub confirm_hits: u32,
    /// How long an object may be out of sight before its track ends.
    pub max_hidden_s: f64,
    /// How long an object that is out of sight is told where it is expected to be.
    pub predict_s: f64,
}

impl Default for TrackerSettings {
    fn default() -> Self {
        Self {
            high_score: 0.5,
            low_score: 0.1,
            new_score: 0.6,
            min_overlap: 0.2,
            min_overlap_low: 0.5,
            confirm_hits: 2,
            max_hidden_s: 2.0,
            predict_s: 0.5,
        }
    }
}
