//! The status records that are published at each interval.

use std::{sync::Arc, time::Duration};

use lookout_schema::{
    CameraStatus, CameraStatusRecord, LedgerCounts, ModelInfo, StatusRecord, Timestamp, WorkerFleet,
    WorkerId, WorkerLoad, WorkerState, WorkerStatusRecord,
};
use lookout_stage::RecordSink;

use crate::{
    camera::Camera,
    holdings::UnassignedCamera,
    metrics::{DeviceReading, Metrics},
    roster::Roster,
};

/// The sender of the status records, with the device's totals at the last one.
pub(crate) struct Heartbeat {
    pub(crate) worker: WorkerId,
    /// `None` until the network is loaded; until then, no worker status is published.
    pub(crate) model: Option<ModelInfo>,
    pub(crate) device: String,
    pub(crate) started_at: Timestamp,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) sink: Arc<dyn RecordSink>,
    pub(crate) last: DeviceReading,
}

/// The parts of the worker's status beside the running cameras.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    pub(crate) load: Option<WorkerLoad>,
    pub(crate) fleet: Option<WorkerFleet>,
    pub(crate) unwatched: Vec<UnassignedCamera>,
}

impl Heartbeat {
    /// Sends the status of the worker and of every camera. `interval` is the time since the last call.
    pub(crate) fn send(&mut self, state: WorkerState, roster: &Roster, interval: Duration, beside: &Beside) {
        self.send_worker(state, roster, interval, beside);
        roster.iter().for_each(|camera| self.send_camera(camera));
        beside.unwatched.iter().for_each(|camera| self.send_unwatched(camera));
    }

    fn send_worker(&mut self, state: WorkerState, roster: &Roster, interval: Duration, beside: &Beside) {
        let Some(model) = self.model.clone() else { return };
        let now = self.metrics.device();
        let batches = now.batches - self.last.batches;
        let busy = (now.busy.saturating_sub(self.last.busy)).as_secs_f64();
        let record = WorkerStatusRecord {
            schema: StatusRecord::SCHEMA.into(),
            at: Timestamp::now(),
            worker: self.worker.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            state,
            started_at: self.started_at,
            cameras: roster.iter().len() as u64,
            model,
            device: self.device.clone(),
            device_busy: (busy / interval.as_secs_f64().max(f64::EPSILON)).min(1.0),
            batch_size: (now.frames - self.last.frames) as f64 / batches.max(1) as f64,
            stage_restarts: self.metrics.stage_restarts(),
            ledger: roster.total(),
            load: beside.load.clone(),
            fleet: beside.fleet.clone(),
        };
        self.last = now;
        self.sink.report(&StatusRecord::Worker(record));
    }

    /// Sends the status of a camera in the registry that this worker does not run.
    pub(crate) fn send_unwatched(&self, unwatched: &UnassignedCamera) {
        let status = if unwatched.bad { CameraStatus::Failed } else { CameraStatus::Stopped };
        self.sink.report(&StatusRecord::Camera(CameraStatusRecord {
            schema: StatusRecord::SCHEMA.into(),
            at: Timestamp::now(),
            camera: unwatched.camera.clone(),
            worker: self.worker.clone(),
            epoch: unwatched.epoch,
            session: None,
            status,
            retry: None,
            detail: Some(unwatched.why.clone()),
            reconnects: 0,
            fps: 0.0,
            age_ms: None,
            clock: None,
            ledger: LedgerCounts::default(),
            priority: None,
            degraded: None,
        }));
    }

    /// Sends a camera's status.
    pub(crate) fn send_camera(&self, camera: &Camera) {
        let age = self.metrics.last_age(&camera.settings.id);
        self.sink.report(&camera.status_record(&self.worker, age));
    }
}
