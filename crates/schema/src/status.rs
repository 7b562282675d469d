//! Status records, on `<prefix>.status.v1`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{CameraId, Clock, Epoch, LedgerCounts, ModelInfo, SessionId, Timestamp, WorkerId};

/// How a camera or a worker is; every few seconds, and at every change of a camera's status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StatusRecord {
    Camera(CameraStatusRecord),
    Worker(WorkerStatusRecord),
}

impl StatusRecord {
    pub const SCHEMA: &'static str = "lookout.status/1";
}

/// What a camera is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CameraStatus {
    /// Being connected; no frame has come in this session.
    Connecting,
    /// Frames come.
    Running,
    /// Waiting to be connected anew; `retry` says why.
    Retrying,
    /// The file was read to its end.
    Ended,
    /// Given up: connecting again would not help.
    Failed,
    /// Stopped with its worker.
    Stopped,
}

impl CameraStatus {
    pub const ALL: [Self; 6] =
        [Self::Connecting, Self::Running, Self::Retrying, Self::Ended, Self::Failed, Self::Stopped];

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

    /// Whether nothing more will come from this camera.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Ended | Self::Failed | Self::Stopped)
    }
}

/// Why a camera is connected anew, or was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RetryReason {
    /// The address did not answer.
    Unreachable,
    /// User name or password were refused.
    Unauthorized,
    /// Its certificate is not one that this machine trusts.
    Untrusted,
    /// There is no such file, device or stream.
    NotFound,
    /// The stream or file could not be decoded.
    Undecodable,
    /// A stream that has no end ended.
    EndOfStream,
    /// No frame came for `stall_timeout_ms`.
    Stalled,
    /// Any other error of the pipeline.
    PipelineError,
}

impl RetryReason {
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

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CameraStatusRecord {
    /// [`StatusRecord::SCHEMA`].
    pub schema: String,
    pub at: Timestamp,
    pub camera: CameraId,
    pub worker: WorkerId,
    pub epoch: Epoch,
    pub session: Option<SessionId>,
    pub status: CameraStatus,
    /// Why the camera is being connected anew or has failed.
    pub retry: Option<RetryReason>,
    /// What went wrong, in words; never holds a credential.
    pub detail: Option<String>,
    /// Times this camera was connected anew.
    pub reconnects: u64,
    /// Records a second over the last status interval.
    pub fps: f64,
    /// Age of the last record when it was published.
    pub age_ms: Option<i64>,
    pub clock: Option<Clock>,
    pub ledger: LedgerCounts,
    /// Of a camera of the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// Where the worker is over its latency budget: of this camera's frames it looks at one in so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded: Option<u32>,
}

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    Starting,
    Running,
    Draining,
    Stopped,
}

impl WorkerState {
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
    pub at: Timestamp,
    pub worker: WorkerId,
    pub version: String,
    pub state: WorkerState,
    pub started_at: Timestamp,
    pub cameras: u64,
    pub model: ModelInfo,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Share of the last status interval in which the device worked, 0 to 1.
    pub device_busy: f64,
    /// Mean frames in a batch over the last status interval.
    pub batch_size: f64,
    /// Stages that failed and were started again since the worker began.
    pub stage_restarts: u64,
    /// The sum over all cameras.
    pub ledger: LedgerCounts,
    /// How much it has to do; not before its first record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<WorkerLoad>,
    /// Of a worker whose cameras are the registry's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<WorkerFleet>,
}

/// How far a worker is from what it can do; see `device_busy` beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerLoad {
    /// Age of live frames when they were published, at the 90th percentile of the cameras.
    pub age_ms: Option<u64>,
    /// The age above which it looks at fewer frames.
    pub latency_budget_ms: Option<u64>,
    /// Cameras that it looks at less often than they ask for.
    pub degraded_cameras: u64,
}

/// What a worker has of the registry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerFleet {
    /// Partitions of the registry that it owns; none makes it a standby.
    pub partitions: Vec<i32>,
    pub max_cameras: Option<u64>,
    /// Cameras of its partitions beyond `max_cameras`, which nobody watches.
    pub left_out: u64,
    /// What is wrong with records of its partitions, which it has skipped.
    pub bad_records: Vec<String>,
}
