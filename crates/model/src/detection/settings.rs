//! Settings of a detector's postprocessing.

/// The default score threshold of detectors. torchvision's own thresholds are meant for measuring precision against
/// recall.
pub(crate) const SCORE_THRESHOLD: f32 = 0.5;

/// Thresholds and limits. torchvision sets them for each network; [`Default`] holds RetinaNet's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DetectionSettings {
    /// Only boxes with a score above this threshold are returned, 0 to 1.
    pub score_threshold: f32,
    /// IoU threshold of NMS: of two boxes of one class whose IoU is above it, only the one with the higher
    /// score remains.
    pub nms_iou: f64,
    /// Maximum number of boxes per image.
    pub max_detections: usize,
    /// Maximum number of candidates per pyramid level that enter NMS. Faster R-CNN does not use it, because the
    /// number of its proposals is limited.
    pub candidates_per_level: usize,
    /// Settings of the proposals; only Faster R-CNN has them.
    pub proposals: ProposalSettings,
}

/// Postprocessing settings of the region proposal network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProposalSettings {
    /// Minimum score of a proposal, 0 to 1.
    pub score_threshold: f32,
    pub nms_iou: f64,
    /// Maximum number of candidates per pyramid level that enter NMS.
    pub candidates_per_level: usize,
    /// Maximum number of proposals per image.
    pub max_proposals: usize,
}

impl ProposalSettings {
    /// The settings for inference.
    const INFERENCE: Self =
        Self { score_threshold: 0.0, nms_iou: 0.7, candidates_per_level: 1000, max_proposals: 1000 };

    /// The settings for training, with twice as many proposals as for inference, as in torchvision.
    pub const TRAINING: Self =
        Self { score_threshold: 0.0, nms_iou: 0.7, candidates_per_level: 2000, max_proposals: 2000 };
}

impl DetectionSettings {
    /// torchvision's settings for RetinaNet.
    pub(crate) const RETINANET: Self = Self {
        score_threshold: 0.05,
        nms_iou: 0.5,
        max_detections: 300,
        candidates_per_level: 1000,
        proposals: ProposalSettings::INFERENCE,
    };
}

impl Default for ProposalSettings {
    fn default() -> Self {
        Self::INFERENCE
    }
}

impl Default for DetectionSettings {
    fn default() -> Self {
        Self::RETINANET
    }
}
