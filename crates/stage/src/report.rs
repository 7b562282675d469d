//! The reports of a camera's thread to its worker.

use lookout_schema::{CameraId, CameraStatus, Clock, RetryReason, SessionId};

/// A change of a camera's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameraReport {
    pub camera: CameraId,
    pub status: CameraStatus,
    /// The current session, or the one that has just ended.
    pub session: Option<SessionId>,
    pub clock: Option<Clock>,
    /// Why the camera is reconnected or has failed.
    pub retry: Option<RetryReason>,
    /// A description of the error, without credentials.
    pub detail: Option<String>,
}

/// Why a camera's thread has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceEnd {
    /// A file was read to its end.
    Ended,
    /// The source failed with an error for which a retry would not help.
    Failed { reason: RetryReason, detail: String },
    /// The source received the stop signal.
    Stopped,
}
