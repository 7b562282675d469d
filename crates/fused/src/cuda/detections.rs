//! Postprocessing of dense detectors on a GPU.

use tch::Tensor;
use torch_sys::C_tensor;

use super::lookout_cuda_read_levels;
use crate::{FusedError, guarded::tensor};

/// The outputs of one level of a dense detector, contiguous and on a GPU.
#[derive(Debug, Clone, Copy)]
pub struct LevelOutputs<'a> {
    /// `[N, A, K]`
    pub logits: &'a Tensor,
    /// `[N, A, 4]`
    pub boxes: &'a Tensor,
    /// Logits of FCOS's centerness, `[N, A, 1]`.
    pub centers: Option<&'a Tensor>,
    /// `[A, 4]` in fp32.
    pub anchors: &'a Tensor,
}

#[repr(C)]
pub(super) struct RawLevel {
    logits: *const C_tensor,
    boxes: *const C_tensor,
    centers: *const C_tensor,
    anchors: *const C_tensor,
}

/// The postprocessing of a dense detector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DetectionRules {
    /// Whether boxes are distances from an anchor's center, rather than offsets of the anchor.
    pub distances: bool,
    /// Score threshold, 0 to 1. The score of a detection must exceed it.
    pub score_threshold: f32,
    /// Maximum number of candidates per level.
    pub per_level: usize,
    /// Maximum number of detections per image.
    pub max_detections: usize,
    /// NMS threshold: if the IoU of two boxes of one class exceeds it, only the one with the higher score is kept.
    pub iou: f64,
    /// Height and width of the image, to which boxes are clipped.
    pub size: [i64; 2],
}

/// The postprocessing of a dense detector, as arguments of the GPU kernels.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct LevelReading {
    distances: i32,
    threshold: f32,
    per_level: i32,
    max_detections: i32,
    iou: f64,
    height: f32,
    width: f32,
}

/// Maximum numbers of candidates per level and of detections per image that [`LevelReading`] supports.
pub const MOST: (usize, usize) = (1024, 1024);

impl LevelReading {
    /// Creates the postprocessing from `rules`; returns `None` if a number exceeds [`MOST`].
    pub fn new(rules: DetectionRules) -> Option<Self> {
        let (candidates, detections) = MOST;
        (rules.per_level <= candidates && rules.max_detections <= detections).then_some(Self {
            distances: i32::from(rules.distances),
            threshold: rules.score_threshold,
            per_level: rules.per_level.max(1) as i32,
            max_detections: rules.max_detections as i32,
            iou: rules.iou,
            height: rules.size[0] as f32,
            width: rules.size[1] as f32,
        })
    }

    /// Returns the detections of each image as `[N, 1 + max_detections * 6]` in fp32.
    ///
    /// A row starts with the number of detections. Each detection, in descending order of score, has `x1, y1, x2, y2`,
    /// score and class. Values after the last detection are undefined.
    ///
    /// # Errors
    /// The tensors do not fit, the kernels cannot be compiled, or the GPU has less than 100 KiB of shared memory per
    /// block.
    pub fn apply(&self, levels: &[LevelOutputs<'_>]) -> Result<Tensor, FusedError> {
        let raw = levels.iter().map(|level| RawLevel {
            logits: level.logits.as_ptr(),
            boxes: level.boxes.as_ptr(),
            centers: level.centers.map_or(std::ptr::null(), Tensor::as_ptr),
            anchors: level.anchors.as_ptr(),
        });
        let raw: Vec<RawLevel> = raw.collect();
        let count = i32::try_from(raw.len()).unwrap_or(i32::MAX);
        // SAFETY: the pointers outlive the call, and the callee checks the tensors and their number.
        tensor("detection postprocessing", |error, size| unsafe {
            lookout_cuda_read_levels(raw.as_ptr(), count, self, error, size)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_the_kernels_are_checked() {
        let reading = |per_level, max_detections| {
            let (distances, score_threshold, iou, size) = (false, 0.5, 0.5, [64, 64]);
            let rules = DetectionRules { distances, score_threshold, per_level, max_detections, iou, size };
            LevelReading::new(rules)
        };
        assert!(reading(1000, 300).is_some());
        assert!(reading(5000, 300).is_none() && reading(1000, 5000).is_none());
    }
}
