//! The registry of cameras that workers share, on `<prefix>.cameras.v1`, and who has which part of it, on
//! `<prefix>.claims.v1`. Both topics are compacted: the last record of a key holds.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{CameraId, Region, Timestamp, WorkerId};

/// A camera in the registry; the record's key is its id, and a record without a value removes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CameraSpec {
    /// [`CameraSpec::SCHEMA`].
    pub schema: String,
    pub id: CameraId,
    /// Counts the camera's changes from 1.
    pub version: u64,
    pub updated_at: Timestamp,
    /// As in a pipeline file. What is secret in it is a reference, `${NAME}` or `${secret:NAME}`, that the
    /// worker resolves.
    pub uri: String,
    /// Frames a second at most.
    #[serde(default)]
    pub fps: Option<f64>,
    /// Of two cameras the one with the lower priority is the first to be looked at less often.
    #[serde(default = "middle")]
    pub priority: u8,
    #[serde(default)]
    pub regions: Vec<Region>,
    /// Labels of the detections that are told; all if there are none.
    #[serde(default)]
    pub classes: Vec<String>,
    /// Parts of the picture that consumers watch, by name; a worker does not look at them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub zones: BTreeMap<String, Region>,
    /// Lines whose crossings consumers tell, by name: two points in parts of the picture's width and height.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lines: BTreeMap<String, [[f32; 2]; 2]>,
    /// Whatever people want to note; nothing in Lookout depends on it.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// A camera that is not enabled stays in the registry and is not watched.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Any other key of `[[camera]]` in a pipeline file.
    #[serde(default)]
    pub options: BTreeMap<String, Value>,
}

impl CameraSpec {
    pub const SCHEMA: &'static str = "lookout.camera/1";
    /// The priority of a camera for which none was set.
    pub const PRIORITY: u8 = 50;
    /// The highest priority.
    pub const MAX_PRIORITY: u8 = 100;

    /// A camera with nothing set but its address.
    pub fn new(id: CameraId, uri: impl Into<String>) -> Self {
        Self {
            schema: Self::SCHEMA.into(),
            id,
            version: 1,
            updated_at: Timestamp::now(),
            uri: uri.into(),
            fps: None,
            priority: Self::PRIORITY,
            regions: Vec::new(),
            classes: Vec::new(),
            zones: BTreeMap::new(),
            lines: BTreeMap::new(),
            labels: BTreeMap::new(),
            enabled: true,
            options: BTreeMap::new(),
        }
    }

    /// Whether it asks for the same, whoever wrote it when.
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        let (version, updated_at) = (other.version, other.updated_at);
        Self { version, updated_at, ..self.clone() } == *other
    }
}

fn middle() -> u8 {
    CameraSpec::PRIORITY
}

fn yes() -> bool {
    true
}

/// A worker takes a partition of the registry over. The offset of this record, and one, is the epoch of the
/// records that it will write of the partition's cameras.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClaimRecord {
    /// [`ClaimRecord::SCHEMA`].
    pub schema: String,
    pub partition: i32,
    pub worker: WorkerId,
    pub at: Timestamp,
}

impl ClaimRecord {
    pub const SCHEMA: &'static str = "lookout.claim/1";
}
