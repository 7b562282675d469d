//! Snapshot records, on `<prefix>.snapshots.v1`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{CameraId, Clock, Detection, Epoch, SessionId, Size, Timestamp, WorkerId};

/// A small JPEG of a frame, with its detections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SnapshotRecord {
    /// [`SnapshotRecord::SCHEMA`].
    pub schema: String,
    /// The camera.
    pub camera: CameraId,
    /// The worker that published the record.
    pub worker: WorkerId,
    /// Fencing token of the worker that owned the camera.
    pub epoch: Epoch,
    /// The connection to the camera during which the frame was received.
    pub session: SessionId,
    /// Sequence number of the frame.
    pub seq: u64,
    /// When the frame was captured, by `clock`.
    pub captured_at: Timestamp,
    /// The clock of `captured_at`.
    pub clock: Clock,
    /// Size of the frame as it is displayed; the boxes of `detections` are in its pixels.
    pub source: Size,
    /// Size of the JPEG, which shows the whole frame.
    pub image: Size,
    /// The JPEG (ITU-T T.81), in JSON as base64 (RFC 4648, section 4).
    #[serde(with = "base64_text")]
    #[schemars(with = "String", extend("contentEncoding" = "base64"))]
    pub jpeg: Vec<u8>,
    /// Detected objects, as in the frame's record.
    #[serde(default)]
    pub detections: Vec<Detection>,
}

impl SnapshotRecord {
    /// The value of `schema` in these records.
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
