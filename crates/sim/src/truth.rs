//! What is true of a frame.

use lookout_schema::{BBox, Size};
use serde::{Deserialize, Serialize};

/// The truth of one frame, a line of JSON in a truth file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FrameTruth {
    /// Counts the frames from 0.
    pub frame: u64,
    /// In seconds from the beginning.
    pub at_s: f64,
    pub size: Size,
    pub objects: Vec<ObjectTruth>,
}

/// An object of which something can be seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObjectTruth {
    /// The same for as long as it is in the scene, for every camera.
    pub track: u64,
    pub class_id: u32,
    pub label: String,
    /// Of what can be seen of it, in pixels.
    #[serde(rename = "box")]
    pub bbox: BBox,
    /// What part of what lies within the picture nothing hides, 0 to 1.
    pub visible: f32,
    /// Too small or too hidden for anybody to be blamed who does not find it.
    pub ignore: bool,
    /// From the camera to its nearest face, along the camera's way of looking, in meters.
    pub distance_m: f32,
    /// How fast that grows less.
    pub closing_m_s: f32,
    /// Time to collision; none where it does not come nearer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttc_s: Option<f32>,
}

/// Objects with fewer pixels than this of themselves to be seen, or less wide or high, are too small: far ones, which
/// annotators do not draw either. KITTI asks for none below 25 of 375 lines (Geiger et al. 2012).
pub(crate) const LEAST_PIXELS: u32 = 60;
pub(crate) const LEAST_SIZE: [f32; 2] = [8.0, 16.0];
/// Those of which less can be seen are too hidden.
pub(crate) const LEAST_VISIBLE: f32 = 0.4;
