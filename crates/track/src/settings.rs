//! How objects are followed.

/// Settings of a [`crate::Tracker`]. Scores are 0 to 1, overlaps are intersections over union, times seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackerSettings {
    /// Detections that score as much as this are sure.
    pub high_score: f32,
    /// Those below, down to this, go on with a track if they fit it well, and begin none; what scores less is not
    /// looked at.
    pub low_score: f32,
    /// A detection that matches nothing begins a track if it scores as much as this.
    pub new_score: f32,
    /// How many times an object is to be seen before it is told, unless the track is of the session's first
    /// frame.
    pub confirm_hits: u32,
    /// How long an object may be out of sight before its track ends.
    pub max_hidden_s: f64,
    /// How long an object that is out of sight is told where it is expected to be. Long enough to bridge what a
    /// detector misses (three frames at 10 frames/s); beyond that it is more often hidden than missed, and where
    /// the truth is taken to leave hidden objects out, each further box is a false one.
    pub predict_s: f64,
}

impl Default for TrackerSettings {
    fn default() -> Self {
        Self {
            high_score: 0.5,
            low_score: 0.1,
            new_score: 0.6,
            confirm_hits: 2,
            max_hidden_s: 2.0,
            predict_s: 0.3,
        }
    }
}
