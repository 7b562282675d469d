//! How a detector's outputs are read.

/// Thresholds and limits, which torchvision sets for each network; [`Default`] is RetinaNet's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DetectionSettings {
    /// A box has to score above this, 0 to 1.
    pub score_threshold: f32,
    /// Of two boxes of a class whose intersection over union is above this, the better one stays.
    pub nms_iou: f64,
    /// The most boxes of a picture.
    pub max_detections: usize,
    /// The most candidates that a level of the pyramid sends into the suppression; Faster R-CNN has none
    /// such: its proposals are limited.
    pub candidates_per_level: usize,
    /// Of Faster R-CNN.
    pub proposals: ProposalSettings,
}

/// How the region proposal network's outputs are read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProposalSettings {
    /// A proposal has to score this at least, 0 to 1.
    pub score_threshold: f32,
    pub nms_iou: f64,
    /// The most candidates that a level of the pyramid sends into the suppression.
    pub candidates_per_level: usize,
    /// The most proposals of a picture.
    pub max_proposals: usize,
}

impl Default for ProposalSettings {
    fn default() -> Self {
        Self { score_threshold: 0.0, nms_iou: 0.7, candidates_per_level: 1000, max_proposals: 1000 }
    }
}

impl ProposalSettings {
    /// Twice as many as in use, as in torchvision.
    pub const TRAINING: Self =
        Self { score_threshold: 0.0, nms_iou: 0.7, candidates_per_level: 2000, max_proposals: 2000 };
}

impl Default for DetectionSettings {
    fn default() -> Self {
        Self {
            score_threshold: 0.05,
            nms_iou: 0.5,
            max_detections: 300,
            candidates_per_level: 1000,
            proposals: ProposalSettings::default(),
        }
    }
}
