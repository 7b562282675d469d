//! Status records, on `<prefix>.status.v1`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{CameraId, Clock, Epoch, LedgerCounts, ModelInfo, SessionId, Timestamp, WorkerId};

/// Status of a camera or a worker, published every `status_interval_ms` and at each change of a camera's status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StatusRecord {
    /// Status of a camera.
    Camera(CameraStatusRecord),
    /// Status of a worker.
    Worker(WorkerStatusRecord),
}

impl StatusRecord {
    /// The value of `schema` in these records.
    pub const SCHEMA: &'static str = "lookout.status/1";
}

/// Status of a camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CameraStatus {
    /// Being connected; no frame has been received in this session.
    Connecting,
    /// Frames are received.
    Running,
    /// Waiting for the next connection attempt; `retry` has the reason.
    Retrying,
    /// The file was read to its end.
    Ended,
    /// Failed permanently; the worker does not reconnect the camera.
    Failed,
    /// Stopped with its worker.
    Stopped,
}

impl CameraStatus {
    /// All statuses.
    pub const ALL: [Self; 6] =
        [Self::Connecting, Self::Running, Self::Retrying, Self::Ended, Self::Failed, Self::Stopped];

    /// Returns the name in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Ended => "ended",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }

    /// Returns whether the camera will deliver no more frames.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Ended | Self::Failed | Self::Stopped)
    }
}

/// Why a camera is reconnected or has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RetryReason {
    /// The address did not answer.
    Unreachable,
    /// The user name or the password was rejected.
    Unauthorized,
    /// The worker's machine does not trust the camera's certificate.
    Untrusted,
    /// The file, device or stream does not exist.
    NotFound,
    /// The stream or file could not be decoded.
    Undecodable,
    /// A live stream ended.
    EndOfStream,
    /// No frame was received for `stall_timeout_ms`.
    Stalled,
    /// Another error of the GStreamer pipeline.
    PipelineError,
}

impl RetryReason {
    /// All reasons.
    pub const ALL: [Self; 8] = [
        Self::Unreachable,
        Self::Unauthorized,
        Self::Untrusted,
        Self::NotFound,
        Self::Undecodable,
        Self::EndOfStream,
        Self::Stalled,
        Self::PipelineError,
    ];

    /// Returns the name in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Unauthorized => "unauthorized",
            Self::Untrusted => "untrusted",
            Self::NotFound => "not_found",
            Self::Undecodable => "undecodable",
            Self::EndOfStream => "end_of_stream",
            Self::Stalled => "stalled",
            Self::PipelineError => "pipeline_error",
        }
    }
}

/// Status of a camera, and its counters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CameraStatusRecord {
    /// [`StatusRecord::SCHEMA`].
    pub schema: String,
    /// When the record was written.
    pub at: Timestamp,
    /// The camera.
    pub camera: CameraId,
    /// The worker that runs the camera.
    pub worker: WorkerId,
    /// Fencing token of the worker that owns the camera.
    pub epoch: Epoch,
    /// The last connection to the camera; null before the first.
    pub session: Option<SessionId>,
    /// The status.
    pub status: CameraStatus,
    /// Why the camera is being reconnected or has failed.
    pub retry: Option<RetryReason>,
    /// Description of the error; never contains credentials.
    pub detail: Option<String>,
    /// Number of reconnections of the camera.
    pub reconnects: u64,
    /// Records per second over the last status interval.
    pub fps: f64,
    /// Age of the last record when it was published.
    pub age_ms: Option<i64>,
    /// The clock of the frames' capture times; null before the first frame.
    pub clock: Option<Clock>,
    /// Counters of the camera's frames and records.
    pub ledger: LedgerCounts,
    /// Priority of a camera of the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// N if load shedding reduces this camera: the worker processes one of N frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded: Option<u32>,
}

/// State of a worker: `starting` (reserved, not published), `running`, `draining` while it accepts no more frames and
/// finishes the others, and `stopped` in its last record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "descriptions of the variants would change the form of the released schema")]
pub enum WorkerState {
    Starting,
    Running,
    Draining,
    Stopped,
}

impl WorkerState {
    /// Returns the name in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

/// A worker's heartbeat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerStatusRecord {
    /// [`StatusRecord::SCHEMA`].
    pub schema: String,
    /// When the record was written.
    pub at: Timestamp,
    /// The worker.
    pub worker: WorkerId,
    /// Version of Lookout.
    pub version: String,
    /// State of the worker.
    pub state: WorkerState,
    /// When the worker was started.
    pub started_at: Timestamp,
    /// Number of cameras that the worker runs.
    pub cameras: u64,
    /// The network that the worker runs.
    pub model: ModelInfo,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Fraction of the last status interval in which the device was busy, 0 to 1.
    pub device_busy: f64,
    /// Mean number of frames per batch over the last status interval.
    pub batch_size: f64,
    /// Number of stages that failed and were restarted since the worker started.
    pub stage_restarts: u64,
    /// The sum over all cameras.
    pub ledger: LedgerCounts,
    /// Load of the worker; absent while neither a live frame was measured nor a latency budget is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<WorkerLoad>,
    /// The worker's part of the registry, if its cameras come from the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<WorkerFleet>,
}

/// Load of a worker; see also `device_busy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerLoad {
    /// Age of live frames when they were published, 90th percentile over the cameras.
    pub age_ms: Option<u64>,
    /// Age above which the worker processes fewer frames.
    pub latency_budget_ms: Option<u64>,
    /// Cameras of which the worker processes fewer frames than configured.
    pub degraded_cameras: u64,
}

/// A worker's part of the registry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerFleet {
    /// Partitions of the registry that the worker owns; empty for a standby.
    pub partitions: Vec<i32>,
    /// Maximum number of cameras that the worker runs, if it is limited.
    pub max_cameras: Option<u64>,
    /// Cameras of its partitions beyond `max_cameras`, which no worker runs.
    pub cameras_over_limit: u64,
    /// Errors of the records of its partitions that the worker has skipped.
    pub invalid_records: Vec<String>,
}
