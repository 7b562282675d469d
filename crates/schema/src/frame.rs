//! Frame records, on `<prefix>.frames.v1`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BBox, CameraId, Clock, DropCause, Epoch, SessionId, Size, Timestamp, WorkerId};

/// The inference result of one frame of a camera. A frame without detections has a record too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FrameRecord {
    /// [`FrameRecord::SCHEMA`].
    pub schema: String,
    /// The camera.
    pub camera: CameraId,
    /// The worker that published the record.
    pub worker: WorkerId,
    /// Fencing token of the worker that owned the camera.
    pub epoch: Epoch,
    /// The connection to the camera during which the frame was received.
    pub session: SessionId,
    /// Counts the decoded frames of the session from 0; a gap shows dropped frames.
    pub seq: u64,
    /// Presentation timestamp in the stream, in nanoseconds, if the stream has one.
    pub pts_ns: Option<u64>,
    /// When the frame was captured, by `clock`.
    pub captured_at: Timestamp,
    /// The clock of `captured_at`.
    pub clock: Clock,
    /// When this record was handed to the Kafka client.
    pub published_at: Timestamp,
    /// Time from `captured_at` to `published_at`; negative if the camera's clock is ahead.
    pub age_ms: i64,
    /// Time that the frame spent in each stage of the worker.
    pub timing_us: TimingUs,
    /// Size of the frame as it is displayed: with square pixels and rotated as the stream specifies, before it is
    /// resized for the network.
    pub source: Size,
    /// The network that computed the result.
    pub model: ModelInfo,
    /// The secondary classifier, which computed the `classes` of the detections, if one is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classifier: Option<ModelInfo>,
    /// Frames of this session dropped since its previous record, by cause.
    #[serde(default)]
    pub dropped_before: BTreeMap<DropCause, u64>,
    /// Detected objects; empty if the model is a classifier.
    #[serde(default)]
    pub detections: Vec<Detection>,
    /// Classes of the whole image, most probable first, if the model is a classifier.
    #[serde(default)]
    pub classes: Vec<Classification>,
}

impl FrameRecord {
    /// The value of `schema` in these records.
    pub const SCHEMA: &'static str = "lookout.frame/1";
}

/// Time that a frame spent in the stages of the worker, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TimingUs {
    /// Conversion of the decoder's output to the model's input: scaling and copying.
    pub decode: u64,
    /// Waiting for a batch and for the device.
    pub queue: u64,
    /// The forward pass of the frame's batch.
    pub infer: u64,
    /// Postprocessing of the network's output.
    pub post: u64,
}

/// The network that computed a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ModelInfo {
    /// Name of the network, such as `fcos_resnet50_fpn`.
    pub arch: String,
    /// `sha256:` and the digest of the weight file, or `random:` and the seed. Results of random weights are
    /// meaningless.
    pub weights: String,
    /// `fp32`, `bf16` or `fp16`.
    pub precision: String,
}

/// An object in a frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Detection {
    /// Index of the class in the network's output.
    pub class_id: u32,
    /// Name of the class.
    pub label: String,
    /// 0 to 1.
    pub score: f32,
    /// Box of the object.
    #[serde(rename = "box")]
    pub bbox: BBox,
    /// Classes of the object by the secondary classifier, most probable first; absent if it did not run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<Classification>,
}

/// A class of the whole image, or of an object in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Classification {
    /// Index of the class in the network's output.
    pub class_id: u32,
    /// Name of the class.
    pub label: String,
    /// Softmax probability, 0 to 1.
    pub score: f32,
}
