//! The interface between a frame source and its worker.

use std::{sync::Arc, time::Duration};

use crossbeam_channel::Sender;
use lookout_schema::{CameraId, CameraStatus, Clock, RetryReason, SessionId};

use crate::{CameraIntake, CameraLedger, FrameSkip, Permits, Stop};

/// A source of frames: a camera, or a file in place of one.
pub trait FrameSource: Send {
    /// Delivers frames until the source ends, fails permanently or is stopped, and reconnects as often as necessary.
    /// Blocks its thread.
    fn run(&mut self, outlet: &SourceOutlet) -> SourceEnd;
}

/// The channels and shared state that a source needs to deliver its frames.
#[derive(Debug)]
pub struct SourceOutlet {
    /// The sending side of the camera's queue.
    pub intake: CameraIntake,
    /// The ledger that counts the source's frames.
    pub ledger: Arc<CameraLedger>,
    /// The permits of a file source: each frame acquires one before it enters `intake`. `None` for live sources.
    pub permits: Option<Permits>,
    /// Receives the changes of the source's status.
    pub reports: Sender<CameraReport>,
    /// The frame-skip interval.
    pub frame_skip: FrameSkip,
    /// The stop signal.
    pub stop: Stop,
}

impl SourceOutlet {
    /// Sends `report` to the worker, and drops it after 1 s: the worker always receives reports unless it shuts down.
    pub fn report(&self, report: CameraReport) {
        let _ = self.reports.send_timeout(report, Duration::from_secs(1));
    }
}

/// A change of a camera's status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameraReport {
    /// The camera.
    pub camera: CameraId,
    /// Its new status.
    pub status: CameraStatus,
    /// The current session, or the one that has just ended.
    pub session: Option<SessionId>,
    /// The clock of the session's capture times, once a frame was received.
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
    Failed {
        /// The kind of error.
        reason: RetryReason,
        /// A description of the error, without credentials.
        detail: String,
    },
    /// The source received the stop signal.
    Stopped,
}
