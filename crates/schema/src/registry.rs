//! The registry of cameras that workers share, on `<prefix>.cameras.v1`, and the claims of its partitions, on
//! `<prefix>.claims.v1`. Both topics are compacted: the last record of each key is the valid one.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{CameraId, Region, Timestamp, WorkerId};

/// A camera in the registry. The Kafka key is its id; a record without a value (a tombstone) removes the camera.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CameraSpec {
    /// [`CameraSpec::SCHEMA`].
    pub schema: String,
    /// Camera id.
    pub id: CameraId,
    /// Version of the camera's settings, from 1; each change increases it.
    pub version: u64,
    /// When this version was written.
    pub updated_at: Timestamp,
    /// Address of the source, as in a pipeline file. Secrets in it are references, `${NAME}` or `${secret:NAME}`, which
    /// the worker resolves.
    pub uri: String,
    /// Maximum frames per second.
    #[serde(default)]
    pub fps: Option<f64>,
    /// 0 to 100. Load shedding skips frames of cameras with a low priority first.
    #[serde(default = "middle")]
    pub priority: u8,
    /// Only detections whose box center is in one of these polygons are published; empty for the whole image.
    #[serde(default)]
    pub regions: Vec<Region>,
    /// Labels of the detections that are published; empty for all.
    #[serde(default)]
    pub classes: Vec<String>,
    /// Zones by name, as polygons in the image. Consumers use them; workers ignore them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub zones: BTreeMap<String, Region>,
    /// Lines by name: two points in fractions of the image's width and height. Consumers report objects that cross
    /// them; workers ignore them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lines: BTreeMap<String, [[f32; 2]; 2]>,
    /// Free-form notes; nothing in Lookout depends on them.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// A camera that is not enabled stays in the registry, and no worker runs it.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Any other key of `[[camera]]` in a pipeline file.
    #[serde(default)]
    pub options: BTreeMap<String, Value>,
}

/// The content of a message on the registry's topic.
#[derive(Debug, Clone, PartialEq)]
pub enum RegistryRecord {
    /// The settings of a camera.
    Camera(Box<CameraSpec>),
    /// A tombstone: the camera was removed.
    Removed,
    /// The record cannot be used, with the reason.
    Bad(String),
}

impl CameraSpec {
    /// The value of `schema` in these records.
    pub const SCHEMA: &'static str = "lookout.camera/1";
    /// The priority of a camera for which none was set.
    pub const PRIORITY: u8 = 50;
    /// The highest priority.
    pub const MAX_PRIORITY: u8 = 100;

    /// Returns a camera with the default value of every setting except `id` and `uri`.
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

    /// Returns whether all settings are equal. Ignores `version` and `updated_at`.
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

/// A worker takes over a partition of the registry. The offset of this record plus one is the epoch of the records that
/// the worker publishes for the cameras of the partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClaimRecord {
    /// [`ClaimRecord::SCHEMA`].
    pub schema: String,
    /// The partition of the registry.
    pub partition: i32,
    /// The worker that takes over the partition.
    pub worker: WorkerId,
    /// When the worker took over the partition.
    pub at: Timestamp,
}

impl ClaimRecord {
    /// The value of `schema` in these records.
    pub const SCHEMA: &'static str = "lookout.claim/1";
}
