//! Settings of the tracker.

use lookout_schema::TrackerAlgorithm;

/// Settings of a [`crate::Tracker`]. Scores are 0 to 1, times are in seconds. The baselines use the settings of their
/// publications instead.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackerSettings {
    /// The algorithm.
    pub algorithm: TrackerAlgorithm,
    /// The score at or above which a detection can start a track. Detections with a lower score must fit a
    /// confirmed track better to be matched with it. A detection counts towards the confirmation of a track by the
    /// amount by which its score exceeds this threshold, plus 0.1.
    pub new_track_thresh: f32,
    /// The score below which detections are ignored.
    pub low_score: f32,
    /// For how long an object may be undetected before its track ends (`max_age` in other trackers).
    pub max_age_s: f64,
    /// The coast time: for how long a track without a detection is output at its predicted position. The default is 0,
    /// because most of these boxes are false positives against ground truth that leaves out occluded objects.
    pub predict_s: f64,
}

impl Default for TrackerSettings {
    fn default() -> Self {
        Self {
            algorithm: TrackerAlgorithm::default(),
            new_track_thresh: 0.6,
            low_score: 0.1,
            max_age_s: 2.0,
            predict_s: 0.0,
        }
    }
}
