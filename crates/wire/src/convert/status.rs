//! Conversion of the status records of cameras and workers.

use lookout_schema::{
    CameraStatusRecord, Epoch, LedgerCounts, StatusRecord, WorkerFleet, WorkerLoad, WorkerStatusRecord,
};

use super::{
    BadField, id,
    names::{Named, causes, counts, named, optional_named},
    optional_id, optional_part, part, time,
};
use crate::proto::{self, status_record::Kind};

impl From<&StatusRecord> for proto::StatusRecord {
    fn from(status: &StatusRecord) -> Self {
        let kind = match status {
            StatusRecord::Camera(camera) => Kind::Camera(camera.into()),
            StatusRecord::Worker(worker) => Kind::Worker(worker.into()),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<proto::StatusRecord> for StatusRecord {
    type Error = BadField;

    fn try_from(status: proto::StatusRecord) -> Result<Self, BadField> {
        match status.kind {
            Some(Kind::Camera(camera)) => camera.try_into().map(Self::Camera),
            Some(Kind::Worker(worker)) => worker.try_into().map(Self::Worker),
            None => Err(BadField::new("kind", "the kind is missing or unknown")),
        }
    }
}

impl From<&CameraStatusRecord> for proto::CameraStatusRecord {
    fn from(camera: &CameraStatusRecord) -> Self {
        Self {
            schema: camera.schema.clone(),
            at_us: camera.at.as_unix_us(),
            camera: camera.camera.as_str().to_owned(),
            worker: camera.worker.as_str().to_owned(),
            epoch: camera.epoch.0,
            session: camera.session.map(|session| session.to_string()),
            status: camera.status.number(),
            retry: camera.retry.map(Named::number),
            detail: camera.detail.clone(),
            reconnects: camera.reconnects,
            fps: camera.fps,
            age_ms: camera.age_ms,
            clock: camera.clock.map(Named::number),
            ledger: Some((&camera.ledger).into()),
            priority: camera.priority.map(u32::from),
            degraded: camera.degraded,
        }
    }
}

impl TryFrom<proto::CameraStatusRecord> for CameraStatusRecord {
    type Error = BadField;

    fn try_from(camera: proto::CameraStatusRecord) -> Result<Self, BadField> {
        let priority = camera.priority.map(u8::try_from).transpose();
        Ok(Self {
            schema: camera.schema,
            at: time("at_us", camera.at_us)?,
            camera: id("camera", &camera.camera)?,
            worker: id("worker", &camera.worker)?,
            epoch: Epoch(camera.epoch),
            session: optional_id("session", camera.session.as_ref())?,
            status: named("status", camera.status)?,
            retry: optional_named("retry", camera.retry)?,
            detail: camera.detail,
            reconnects: camera.reconnects,
            fps: camera.fps,
            age_ms: camera.age_ms,
            clock: optional_named("clock", camera.clock)?,
            ledger: part("ledger", camera.ledger)?,
            priority: priority.map_err(|error| BadField::new("priority", error.to_string()))?,
            degraded: camera.degraded,
        })
    }
}

impl From<&LedgerCounts> for proto::LedgerCounts {
    fn from(ledger: &LedgerCounts) -> Self {
        Self {
            received: ledger.received,
            processing: ledger.processing,
            published: ledger.published,
            delivered: ledger.delivered,
            in_flight: ledger.in_flight,
            spooled: ledger.spooled,
            dropped: counts(&ledger.dropped),
            expired: counts(&ledger.expired),
        }
    }
}

impl TryFrom<proto::LedgerCounts> for LedgerCounts {
    type Error = BadField;

    fn try_from(ledger: proto::LedgerCounts) -> Result<Self, BadField> {
        Ok(Self {
            received: ledger.received,
            processing: ledger.processing,
            published: ledger.published,
            delivered: ledger.delivered,
            in_flight: ledger.in_flight,
            spooled: ledger.spooled,
            dropped: causes("ledger.dropped", ledger.dropped)?,
            expired: causes("ledger.expired", ledger.expired)?,
        })
    }
}

impl From<&WorkerStatusRecord> for proto::WorkerStatusRecord {
    fn from(worker: &WorkerStatusRecord) -> Self {
        Self {
            schema: worker.schema.clone(),
            at_us: worker.at.as_unix_us(),
            worker: worker.worker.as_str().to_owned(),
            version: worker.version.clone(),
            state: worker.state.number(),
            started_at_us: worker.started_at.as_unix_us(),
            cameras: worker.cameras,
            model: Some((&worker.model).into()),
            device: worker.device.clone(),
            device_busy: worker.device_busy,
            batch_size: worker.batch_size,
            stage_restarts: worker.stage_restarts,
            ledger: Some((&worker.ledger).into()),
            load: worker.load.as_ref().map(Into::into),
            fleet: worker.fleet.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<proto::WorkerStatusRecord> for WorkerStatusRecord {
    type Error = BadField;

    fn try_from(worker: proto::WorkerStatusRecord) -> Result<Self, BadField> {
        Ok(Self {
            schema: worker.schema,
            at: time("at_us", worker.at_us)?,
            worker: id("worker", &worker.worker)?,
            version: worker.version,
            state: named("state", worker.state)?,
            started_at: time("started_at_us", worker.started_at_us)?,
            cameras: worker.cameras,
            model: part("model", worker.model)?,
            device: worker.device,
            device_busy: worker.device_busy,
            batch_size: worker.batch_size,
            stage_restarts: worker.stage_restarts,
            ledger: part("ledger", worker.ledger)?,
            load: optional_part(worker.load)?,
            fleet: optional_part(worker.fleet)?,
        })
    }
}

impl From<&WorkerLoad> for proto::WorkerLoad {
    fn from(load: &WorkerLoad) -> Self {
        let WorkerLoad { age_ms, latency_budget_ms, degraded_cameras } = *load;
        Self { age_ms, latency_budget_ms, degraded_cameras }
    }
}

impl From<proto::WorkerLoad> for WorkerLoad {
    fn from(load: proto::WorkerLoad) -> Self {
        let proto::WorkerLoad { age_ms, latency_budget_ms, degraded_cameras } = load;
        Self { age_ms, latency_budget_ms, degraded_cameras }
    }
}

impl From<&WorkerFleet> for proto::WorkerFleet {
    fn from(fleet: &WorkerFleet) -> Self {
        let WorkerFleet { partitions, max_cameras, cameras_over_limit, invalid_records } = fleet.clone();
        Self { partitions, max_cameras, cameras_over_limit, invalid_records }
    }
}

impl From<proto::WorkerFleet> for WorkerFleet {
    fn from(fleet: proto::WorkerFleet) -> Self {
        let proto::WorkerFleet { partitions, max_cameras, cameras_over_limit, invalid_records } = fleet;
        Self { partitions, max_cameras, cameras_over_limit, invalid_records }
    }
}
