//! The worker's cameras: what each was last heard to do.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use lookout_config::CameraSettings;
use lookout_schema::{
    CameraId, CameraStatus, CameraStatusRecord, Clock, Epoch, LedgerCounts, RetryReason, SessionId,
    StatusRecord, Timestamp, WorkerId,
};
use lookout_stage::{CameraLedger, CameraQueue, CameraReport, StopOnDrop, stop_signal};

use crate::{
    camera::{self, CameraContext},
    health::CameraView,
};

/// A camera's state.
#[derive(Debug)]
pub(crate) struct Camera {
    pub(crate) settings: CameraSettings,
    pub(crate) ledger: Arc<CameraLedger>,
    stop: Option<StopOnDrop>,
    pub(crate) status: CameraStatus,
    session: Option<SessionId>,
    clock: Option<Clock>,
    pub(crate) retry: Option<RetryReason>,
    pub(crate) detail: Option<String>,
    pub(crate) reconnects: u64,
    /// Why it was last said to be connected anew; a camera that stays away says it once.
    told: Option<RetryReason>,
    published_before: u64,
    /// Records a second over the last status interval.
    pub(crate) fps: f64,
}

/// All cameras of a worker, by id.
#[derive(Debug, Default)]
pub(crate) struct Roster(BTreeMap<CameraId, Camera>);

impl Roster {
    /// Starts a camera and gives the worker's end of its queue.
    pub(crate) fn start(
        &mut self,
        settings: CameraSettings,
        context: &CameraContext,
    ) -> io::Result<CameraQueue> {
        let ledger = CameraLedger::new(settings.id.clone());
        let (stop, stopped) = stop_signal();
        let queue = camera::start(settings.clone(), Arc::clone(&ledger), stopped, context)?;
        let camera = Camera {
            settings,
            ledger,
            stop: Some(stop),
            status: CameraStatus::Connecting,
            session: None,
            clock: None,
            retry: None,
            detail: None,
            reconnects: 0,
            told: None,
            published_before: 0,
            fps: 0.0,
        };
        self.0.insert(camera.settings.id.clone(), camera);
        Ok(queue)
    }

    /// Tells every camera to stop.
    pub(crate) fn stop_all(&mut self) {
        self.0.values_mut().for_each(|camera| camera.stop = None);
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Camera> {
        self.0.values()
    }

    /// Takes note of a report; gives the camera where it is one of ours.
    pub(crate) fn apply(&mut self, report: CameraReport) -> Option<&Camera> {
        let camera = self.0.get_mut(&report.camera)?;
        let was = camera.status;
        camera.status = report.status;
        camera.session = report.session.or(camera.session);
        camera.clock = report.clock.or(camera.clock);
        if report.status == CameraStatus::Retrying {
            camera.reconnects += 1;
        }
        if report.status == CameraStatus::Running || report.retry.is_some() {
            (camera.retry, camera.detail) = (report.retry, report.detail);
        }
        if was != camera.status {
            camera.log();
        }
        Some(camera)
    }

    /// Measures each camera's rate since the last call, `interval` ago.
    pub(crate) fn measure(&mut self, interval: Duration) {
        for camera in self.0.values_mut() {
            let published = camera.ledger.counts().published;
            let seconds = interval.as_secs_f64().max(f64::EPSILON);
            camera.fps = (published - camera.published_before) as f64 / seconds;
            camera.published_before = published;
        }
    }

    /// The sum over all cameras.
    pub(crate) fn total(&self) -> LedgerCounts {
        let mut total = LedgerCounts::default();
        for counts in self.iter().map(|camera| camera.ledger.counts()) {
            total.received += counts.received;
            total.processing += counts.processing;
            total.published += counts.published;
            total.delivered += counts.delivered;
            total.in_flight += counts.in_flight;
            total.spooled += counts.spooled;
            for (cause, frames) in counts.dropped {
                *total.dropped.entry(cause).or_default() += frames;
            }
            for (cause, records) in counts.expired {
                *total.expired.entry(cause).or_default() += records;
            }
        }
        total
    }
}

/// Between two records of a camera that flows; several frames of a slow one.
const LONGEST_GAP: Duration = Duration::from_secs(10);

impl Camera {
    pub(crate) fn view(&self) -> CameraView {
        let three_frames = self.settings.fps.map_or(Duration::ZERO, |fps| Duration::from_secs_f64(3.0 / fps));
        CameraView {
            id: self.settings.id.clone(),
            status: self.status,
            reconnects: self.reconnects,
            longest_gap: LONGEST_GAP.max(three_frames),
            ledger: Arc::clone(&self.ledger),
        }
    }

    pub(crate) fn status_record(&self, worker: &WorkerId, age: Option<Duration>) -> StatusRecord {
        StatusRecord::Camera(CameraStatusRecord {
            schema: StatusRecord::SCHEMA.into(),
            at: Timestamp::now(),
            camera: self.settings.id.clone(),
            worker: worker.clone(),
            epoch: Epoch::default(),
            session: self.session,
            status: self.status,
            retry: self.retry,
            detail: self.detail.clone(),
            reconnects: self.reconnects,
            fps: self.fps,
            age_ms: age.map(|age| age.as_millis() as i64),
            clock: self.clock,
            ledger: self.ledger.counts(),
        })
    }

    fn log(&mut self) {
        let (camera, status, detail) = (&self.settings.id, self.status.as_str(), self.detail.as_deref());
        let reason = self.retry.map(RetryReason::as_str);
        match self.status {
            CameraStatus::Retrying if self.told != self.retry => {
                self.told = self.retry;
                tracing::warn!(%camera, status, reason, detail, "camera lost, it is connected anew");
            }
            CameraStatus::Retrying => tracing::debug!(%camera, status, reason, detail, "camera still away"),
            CameraStatus::Connecting => tracing::debug!(%camera, status, "camera status"),
            CameraStatus::Failed => tracing::error!(%camera, status, reason, detail, "camera has failed"),
            CameraStatus::Running | CameraStatus::Ended | CameraStatus::Stopped => {
                self.told = None;
                tracing::info!(%camera, status, uri = %self.settings.uri, "camera status");
            }
        }
    }
}
