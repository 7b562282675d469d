//! Snapshot records, on `<prefix>.snapshots.v1`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{CameraId, Clock, Detection, Epoch, SessionId, Size, Timestamp, WorkerId};

/// A small JPEG of a frame, with its detections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SnapshotRecord {
    /// [`SnapshotRecord::SCHEMA`].
    pub schema: String,
    pub camera: CameraId,
    pub worker: WorkerId,
    pub epoch: Epoch,
    pub session: SessionId,
    /// Sequence number of the frame.
    pub seq: u64,
    pub captured_at: Timestamp,
    pub clock: Clock,
    /// Size of the frame as it is displayed; the boxes of `detections` are in its pixels.
    pub source: Size,
    /// Size of the JPEG, which shows the whole frame.
    pub image: Size,
    /// The JPEG (ITU-T T.81), in JSON as base64 (RFC 4648, section 4).
    #[serde(with = "base64_text")]
    #[schemars(with = "String", extend("contentEncoding" = "base64"))]
    pub jpeg: Vec<u8>,
    #[serde(default)]
    pub detections: Vec<Detection>,
}

impl SnapshotRecord {
    pub const SCHEMA: &'static str = "lookout.snapshot/1";
    /// Maximum size of `jpeg` in bytes.
    pub const MAX_JPEG: usize = 512 * 1024;
}

mod base64_text {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        STANDARD.decode(text.as_bytes()).map_err(D::Error::custom)
    }
}
