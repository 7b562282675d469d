//! A camera as the fleet's registry holds it, on the compacted topic `<prefix>.cameras.v1`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{CameraId, Region, Timestamp};

/// A camera that the workers share. The record's key is the camera's id; a tombstone takes it out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CameraSpec {
    /// [`CameraSpec::SCHEMA`].
    pub schema: String,
    pub camera: CameraId,
    /// Where it is, as in a pipeline file. Secrets stand in it as references, `${NAME}` or `secret:NAME`, which
    /// the worker resolves; never by themselves.
    pub uri: String,
    /// Counts the edits of this camera from 1; an edit that expects another version is refused.
    pub version: u64,
    pub edited_at: Timestamp,
    /// A camera that is not enabled is kept, and nobody watches it.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Frames a second at most; all where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fps: Option<f64>,
    /// Cameras of a lower priority give way first where a worker has too much to do. 0 to 100.
    #[serde(default = "CameraSpec::usual_priority")]
    pub priority: u8,
    /// Only detections whose centre lies in one of these are told; all where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub regions: Vec<Region>,
    /// Only detections of these classes are told; all where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// For people and their tools, such as `site = "north"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

fn yes() -> bool {
    true
}

impl CameraSpec {
    pub const SCHEMA: &'static str = "lookout.camera/1";

    fn usual_priority() -> u8 {
        50
    }
}
