//! One of the worker's cameras: its desired state, and its state as last reported.

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use lookout_config::CameraSettings;
use lookout_schema::{
    CameraStatus, CameraStatusRecord, Clock, Epoch, RetryReason, SessionId, StatusRecord, Timestamp, WorkerId,
};
use lookout_stage::{CameraLedger, CameraReport, FrameSkip, Ownership, StopOnDrop};

use crate::health::CameraView;

/// The desired state of a camera.
#[derive(Debug, Clone)]
pub(crate) struct DesiredCamera {
    pub(crate) settings: CameraSettings,
    pub(crate) ownership: Arc<Ownership>,
}

/// A camera's state.
#[derive(Debug)]
pub(crate) struct Camera {
    pub(crate) settings: CameraSettings,
    pub(crate) ledger: Arc<CameraLedger>,
    pub(crate) frame_skip: FrameSkip,
    pub(crate) thread: JoinHandle<()>,
    pub(crate) stop: Option<StopOnDrop>,
    /// Whether the camera is removed from the roster once it has ended.
    pub(crate) leaving: bool,
    /// The camera that replaces it then.
    pub(crate) next: Option<DesiredCamera>,
    pub(crate) status: CameraStatus,
    pub(crate) session: Option<SessionId>,
    pub(crate) clock: Option<Clock>,
    pub(crate) retry: Option<RetryReason>,
    pub(crate) detail: Option<String>,
    pub(crate) reconnects: u64,
    /// The last reason for a reconnect that was logged; while a camera stays unreachable, each reason is logged once.
    pub(crate) logged_retry: Option<RetryReason>,
    pub(crate) published_before: u64,
    /// Records per second over the last status interval.
    pub(crate) fps: f64,
}

/// The maximum time between two records of a camera whose frames flow; longer for a camera with a low frame rate.
const MAX_GAP: Duration = Duration::from_secs(10);

impl Camera {
    pub(crate) fn view(&self) -> CameraView {
        let three_frames = self.settings.fps.map_or(Duration::ZERO, |fps| Duration::from_secs_f64(3.0 / fps));
        CameraView {
            id: self.settings.id.clone(),
            status: self.status,
            reconnects: self.reconnects,
            longest_gap: MAX_GAP.max(three_frames),
            ledger: Arc::clone(&self.ledger),
        }
    }

    pub(crate) fn status_record(&self, worker: &WorkerId, age: Option<Duration>) -> StatusRecord {
        StatusRecord::Camera(CameraStatusRecord {
            schema: StatusRecord::SCHEMA.into(),
            at: Timestamp::now(),
            camera: self.settings.id.clone(),
            worker: worker.clone(),
            epoch: self.ledger.ownership().epoch(),
            session: self.session,
            status: self.status,
            retry: self.retry,
            detail: self.detail.clone(),
            reconnects: self.reconnects,
            fps: self.fps,
            age_ms: age.map(|age| age.as_millis() as i64),
            clock: self.clock,
            ledger: self.ledger.counts(),
            priority: Some(self.settings.priority).filter(|_| self.is_shared()),
            degraded: Some(self.frame_skip.every()).filter(|every| *every > 1),
        })
    }

    /// Returns whether the camera comes from the registry, which workers share.
    fn is_shared(&self) -> bool {
        self.ledger.ownership().epoch() > Epoch::default()
    }

    /// Returns whether the camera matches the desired state, so that nothing has to be restarted.
    pub(crate) fn matches_desired(&self, desired: &DesiredCamera) -> bool {
        let mut settings = self.settings.clone();
        settings.priority = desired.settings.priority;
        !self.leaving
            && settings == desired.settings
            && Arc::ptr_eq(self.ledger.ownership(), &desired.ownership)
    }

    /// Stops the camera and marks it for removal from the roster, with `next` as its replacement.
    pub(crate) fn leave(&mut self, next: Option<DesiredCamera>) {
        self.stop = None;
        self.leaving = true;
        self.next = next;
    }

    /// Returns whether a frame of the camera is in progress, or may still arrive.
    pub(crate) fn is_busy(&self) -> bool {
        !self.thread.is_finished() || has_frames(&self.ledger)
    }

    /// Applies a report.
    pub(crate) fn apply(&mut self, report: CameraReport) {
        let was = self.status;
        self.status = report.status;
        self.session = report.session.or(self.session);
        self.clock = report.clock.or(self.clock);
        if report.status == CameraStatus::Retrying {
            self.reconnects += 1;
        }
        if report.status == CameraStatus::Running || report.retry.is_some() {
            (self.retry, self.detail) = (report.retry, report.detail);
        }
        if was != self.status {
            self.log();
        }
    }

    fn log(&mut self) {
        let (camera, status, detail) = (&self.settings.id, self.status.as_str(), self.detail.as_deref());
        let reason = self.retry.map(RetryReason::as_str);
        match self.status {
            CameraStatus::Retrying if self.logged_retry != self.retry => {
                self.logged_retry = self.retry;
                tracing::warn!(%camera, status, reason, detail, "camera disconnected, reconnecting");
            }
            CameraStatus::Retrying => {
                tracing::debug!(%camera, status, reason, detail, "camera still disconnected");
            }
            CameraStatus::Connecting => tracing::debug!(%camera, status, "camera status"),
            CameraStatus::Failed => {
                tracing::error!(%camera, status, reason, detail, "camera failed, not retrying");
            }
            CameraStatus::Running | CameraStatus::Ended | CameraStatus::Stopped => {
                self.logged_retry = None;
                tracing::info!(%camera, status, uri = %self.settings.uri, "camera status");
            }
        }
    }
}

/// Returns whether a frame of a camera is in progress.
pub(crate) fn has_frames(ledger: &CameraLedger) -> bool {
    let counts = ledger.counts();
    counts.processing + counts.spooled + counts.in_flight > 0
}
