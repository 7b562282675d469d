//! A worker of the fleet.

use lookout_schema::{ModelInfo, Timestamp, WorkerId, WorkerState};
use serde::Serialize;

use crate::state::Worker;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct WorkerView {
    id: WorkerId,
    state: WorkerState,
    version: String,
    device: String,
    device_busy: f64,
    batch_size: f64,
    cameras: u64,
    age_ms: Option<u64>,
    latency_budget_ms: Option<u64>,
    degraded_cameras: u64,
    partitions: Option<Vec<i32>>,
    max_cameras: Option<u64>,
    cameras_over_limit: u64,
    last_seen_at: Timestamp,
    started_at: Timestamp,
    stage_restarts: u64,
    /// Whether its status records are missing although it has not reported that it stopped.
    down: bool,
    model: ModelInfo,
    invalid_records: Vec<String>,
}

impl WorkerView {
    pub(crate) fn new(worker: &Worker, now: Timestamp) -> Self {
        let status = &worker.status;
        let (load, fleet) = (status.load.as_ref(), status.fleet.as_ref());
        Self {
            id: status.worker.clone(),
            state: status.state,
            version: status.version.clone(),
            device: status.device.clone(),
            device_busy: status.device_busy,
            batch_size: status.batch_size,
            cameras: status.cameras,
            age_ms: load.and_then(|load| load.age_ms),
            latency_budget_ms: load.and_then(|load| load.latency_budget_ms),
            degraded_cameras: load.map_or(0, |load| load.degraded_cameras),
            partitions: fleet.map(|fleet| fleet.partitions.clone()),
            max_cameras: fleet.and_then(|fleet| fleet.max_cameras),
            cameras_over_limit: fleet.map_or(0, |fleet| fleet.cameras_over_limit),
            last_seen_at: status.at,
            started_at: status.started_at,
            stage_restarts: status.stage_restarts,
            down: worker.is_silent(now),
            model: status.model.clone(),
            invalid_records: fleet.map(|fleet| fleet.invalid_records.clone()).unwrap_or_default(),
        }
    }
}
