//! A camera's tile on the overview page.

use std::collections::BTreeMap;

use lookout_schema::{
    CameraId, CameraSpec, CameraStatus, Clock, DropCause, Epoch, ExpireCause, RetryReason, SessionId, Size,
    Timestamp, WorkerId,
};
use serde::Serialize;

use super::rounded;
use crate::state::Camera;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct CameraView {
    pub(crate) id: CameraId,
    /// A camera status, `silent`, `disabled`, or, for a camera without records, `unknown`.
    pub(crate) status: &'static str,
    pub(crate) retry: Option<RetryReason>,
    pub(crate) detail: Option<String>,
    pub(crate) worker: Option<WorkerId>,
    pub(crate) epoch: Epoch,
    pub(crate) session: Option<SessionId>,
    pub(crate) fps: f64,
    pub(crate) age_ms: Option<i64>,
    pub(crate) clock: Option<Clock>,
    pub(crate) received: u64,
    pub(crate) delivered: u64,
    pub(crate) dropped: BTreeMap<DropCause, u64>,
    pub(crate) expired: BTreeMap<ExpireCause, u64>,
    pub(crate) degraded: Option<u32>,
    pub(crate) priority: Option<u8>,
    pub(crate) last_frame_at: Option<Timestamp>,
    pub(crate) source: Option<Size>,
    pub(crate) counts: BTreeMap<String, u64>,
    pub(crate) snapshot_seq: Option<u64>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) alerts_open: u64,
}

/// The inputs of a view besides the camera's state.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Around {
    pub(crate) now: Timestamp,
    pub(crate) snapshot_seq: Option<u64>,
    pub(crate) alerts_open: u64,
}

impl CameraView {
    pub(crate) fn new(camera: &Camera, around: Around) -> Self {
        let status = camera.status.as_ref();
        let last = camera.last_frame.as_ref();
        let spec = camera.live.spec.as_deref();
        let reported = status.map(|status| status.status);
        let silent = camera.is_silent(around.now) && reported != Some(CameraStatus::Ended);
        let ledger = status.map(|status| status.ledger.clone()).unwrap_or_default();
        // The status of a camera whose frames arrive before its first status record.
        let running = || if last.is_some() { "running" } else { "unknown" };
        Self {
            id: camera.id.clone(),
            status: if silent { "silent" } else { reported.map_or_else(running, CameraStatus::as_str) },
            retry: status.and_then(|status| status.retry),
            detail: status.and_then(|status| status.detail.clone()),
            worker: status.map(|status| &status.worker).or(last.map(|last| &last.worker)).cloned(),
            epoch: camera.session_tracker.epoch().max(status.map(|status| status.epoch).unwrap_or_default()),
            session: last.map(|last| last.session),
            fps: rounded(camera.live.fps),
            // The capture times of a file are its stream time, so its frames have no meaningful age.
            age_ms: last.filter(|last| last.clock != Clock::File).map(|last| last.age_ms),
            clock: last.map(|last| last.clock),
            received: ledger.received,
            delivered: ledger.delivered,
            dropped: ledger.dropped,
            expired: ledger.expired,
            degraded: status.and_then(|status| status.degraded),
            priority: status.and_then(|status| status.priority).or(spec.map(|spec| spec.priority)),
            last_frame_at: last.map(|last| last.captured_at),
            source: last.map(|last| last.source),
            counts: camera.live.counts.clone(),
            snapshot_seq: around.snapshot_seq,
            labels: spec.map(|spec| spec.labels.clone()).unwrap_or_default(),
            alerts_open: around.alerts_open,
        }
    }

    /// Creates the view of a registry camera without records.
    pub(crate) fn without_records(spec: &CameraSpec) -> Self {
        Self {
            id: spec.id.clone(),
            status: if spec.enabled { "unknown" } else { "disabled" },
            retry: None,
            detail: None,
            worker: None,
            epoch: Epoch::default(),
            session: None,
            fps: 0.0,
            age_ms: None,
            clock: None,
            received: 0,
            delivered: 0,
            dropped: BTreeMap::new(),
            expired: BTreeMap::new(),
            degraded: None,
            priority: Some(spec.priority),
            last_frame_at: None,
            source: None,
            counts: BTreeMap::new(),
            snapshot_seq: None,
            labels: spec.labels.clone(),
            alerts_open: 0,
        }
    }

    /// Returns whether the view looks the same to a user. Ages and frame counts are ignored, because they
    /// change all the time.
    pub(crate) fn looks_like(&self, other: &Self) -> bool {
        (self.status, &self.retry, &self.detail, &self.worker, self.epoch)
            == (other.status, &other.retry, &other.detail, &other.worker, other.epoch)
            && (self.session, self.degraded, self.priority, self.alerts_open)
                == (other.session, other.degraded, other.priority, other.alerts_open)
            && (&self.counts, &self.labels, self.snapshot_seq.is_some())
                == (&other.counts, &other.labels, other.snapshot_seq.is_some())
    }
}
