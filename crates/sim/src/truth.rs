//! The ground truth of a frame.

use lookout_schema::{BBox, Size};
use serde::{Deserialize, Serialize};

/// The ground truth of one frame, which is one line of JSON in a ground-truth file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrameTruth {
    /// Counts the frames from 0.
    pub frame: u64,
    /// In seconds from the start.
    pub at_s: f64,
    pub size: Size,
    pub objects: Vec<ObjectTruth>,
}

/// An object that is at least partly visible.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObjectTruth {
    /// The object's id, which is the same as long as it is in the scene, for every camera.
    pub track: u64,
    pub class_id: u32,
    pub label: String,
    /// The bounding box of its visible part, in pixels.
    #[serde(rename = "box")]
    pub bbox: BBox,
    /// The fraction of the object's part within the image that is not occluded, 0 to 1.
    pub visible: f32,
    /// Whether the object is too small or too occluded to count as missed if it is not detected.
    pub ignore: bool,
    /// Distance from the camera to the object's nearest face along the camera's viewing direction, in meters.
    pub distance_m: f32,
    /// Rate at which the distance decreases, in meters per second.
    pub closing_speed_m_s: f32,
    /// Time to collision in seconds; `None` if the object does not approach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttc_s: Option<f32>,
}

/// Minimum number of visible pixels, and minimum width and height of the box. Smaller objects are distant ones that
/// annotators do not label either. KITTI ignores objects below 25 of 375 lines (Geiger et al. 2012).
pub(crate) const MIN_PIXELS: u32 = 60;
pub(crate) const MIN_SIZE: [f32; 2] = [8.0, 16.0];
/// Objects with a smaller visible fraction are too occluded.
pub(crate) const MIN_VISIBLE: f32 = 0.4;
