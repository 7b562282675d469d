//! Settings of the tracker.

/// Settings of a [`crate::Tracker`]. Scores are 0 to 1, times are in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackerSettings {
    /// The score at or above which a detection counts as sure.
    pub track_high_thresh: f32,
    /// The score at or above which a detection can extend an existing track that it matches well, without
    /// starting a new one. Detections with a lower score are ignored.
    pub low_score: f32,
    /// The score at or above which a detection without a matching track starts a new track.
    pub new_track_thresh: f32,
    /// The number of detections before a track is output (`min_hits` in other trackers). Tracks that start in
    /// the first frame of a session are output at once.
    pub confirm_hits: u32,
    /// For how long an object may be undetected before its track ends (`max_age` in other trackers).
    pub max_age_s: f64,
    /// The coast time: for how long a track without a detection is output at its predicted position. It
    /// should bridge the frames that a detector misses (three frames at 10 frames/s). After that time the
    /// object is more often occluded than missed, and each further box counts as a false positive against
    /// ground truth that leaves out occluded objects.
    pub predict_s: f64,
}

impl Default for TrackerSettings {
    fn default() -> Self {
        Self {
            track_high_thresh: 0.5,
            low_score: 0.1,
            new_track_thresh: 0.6,
            confirm_hits: 2,
            max_age_s: 2.0,
            predict_s: 0.3,
        }
    }
}
