//! What a camera's thread tells its worker.

use lookout_schema::{CameraId, CameraStatus, Clock, RetryReason, SessionId};

/// A camera's status has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameraReport {
    pub camera: CameraId,
    pub status: CameraStatus,
    /// The present session, or the one that has just ended.
    pub session: Option<SessionId>,
    pub clock: Option<Clock>,
    /// Why it is connected anew, or has failed.
    pub retry: Option<RetryReason>,
    /// What went wrong, in words, without credentials.
    pub detail: Option<String>,
}

/// Why a camera's thread has come to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceEnd {
    /// A file was read to its end.
    Ended,
    /// Another try would not help.
    Failed { reason: RetryReason, detail: String },
    /// It was told to stop.
    Stopped,
}
