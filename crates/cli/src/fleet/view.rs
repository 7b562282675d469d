//! The state of a fleet, computed from status records. No I/O; the time is an argument.

use std::{collections::BTreeMap, fmt, time::Duration};

use lookout_schema::{
    CameraId, CameraStatus, CameraStatusRecord, StatusRecord, Timestamp, WorkerId, WorkerState,
    WorkerStatusRecord,
};
use serde::Serialize;

/// The last status record of each worker and camera.
#[derive(Debug)]
pub(crate) struct FleetView {
    window: Duration,
    workers: BTreeMap<WorkerId, WorkerStatusRecord>,
    cameras: BTreeMap<CameraId, CameraStatusRecord>,
}

/// The state of a fleet at one time.
#[derive(Debug, Serialize)]
pub(crate) struct Snapshot {
    at: Timestamp,
    workers: Vec<WorkerLine>,
    cameras: Vec<CameraLine>,
}

#[derive(Debug, Serialize)]
struct WorkerLine {
    worker: WorkerId,
    state: WorkerState,
    partitions: Vec<i32>,
    cameras: u64,
    fps: f64,
    device: String,
    device_busy: f64,
    age_ms: Option<u64>,
    degraded_cameras: u64,
    cameras_over_limit: u64,
    invalid_records: Vec<String>,
    /// Age of the status record in seconds.
    status_age_s: i64,
}

#[derive(Debug, Serialize)]
struct CameraLine {
    camera: CameraId,
    owner: WorkerId,
    epoch: u64,
    status: CameraStatus,
    fps: f64,
    age_ms: Option<i64>,
    /// Records that the broker has not acknowledged.
    lag: u64,
    priority: Option<u8>,
    /// N if load shedding reduces the camera to one of N frames.
    degraded: Option<u32>,
    detail: Option<String>,
    status_age_s: i64,
}

impl FleetView {
    /// Creates a view in which status records expire after `window`.
    pub(crate) fn new(window: Duration) -> Self {
        Self { window, workers: BTreeMap::new(), cameras: BTreeMap::new() }
    }

    pub(crate) fn update(&mut self, status: StatusRecord) {
        match status {
            StatusRecord::Worker(worker) => {
                self.workers.insert(worker.worker.clone(), worker);
            }
            StatusRecord::Camera(camera) => {
                // The last record may be from a former owner of the camera, which has a lower epoch.
                let known = self.cameras.get(&camera.camera);
                if known.is_none_or(|known| (known.epoch, known.at) <= (camera.epoch, camera.at)) {
                    self.cameras.insert(camera.camera.clone(), camera);
                }
            }
        }
    }

    /// Returns the state at `now`, and removes expired status records.
    pub(crate) fn snapshot(&mut self, now: Timestamp) -> Snapshot {
        let oldest = now - self.window;
        self.workers.retain(|_, worker| worker.at >= oldest);
        self.cameras.retain(|_, camera| camera.at >= oldest);
        let workers = self.workers.values().map(|worker| self.worker_line(worker, now)).collect();
        let cameras = self.cameras.values().map(|camera| camera_line(camera, now)).collect();
        Snapshot { at: now, workers, cameras }
    }

    fn worker_line(&self, worker: &WorkerStatusRecord, now: Timestamp) -> WorkerLine {
        let fleet = worker.fleet.clone().unwrap_or_default();
        let own = self.cameras.values().filter(|camera| camera.worker == worker.worker);
        WorkerLine {
            worker: worker.worker.clone(),
            state: worker.state,
            partitions: fleet.partitions,
            cameras: worker.cameras,
            fps: own.fold(0.0, |sum, camera| sum + camera.fps),
            device: worker.device.clone(),
            device_busy: worker.device_busy,
            age_ms: worker.load.as_ref().and_then(|load| load.age_ms),
            degraded_cameras: worker.load.as_ref().map_or(0, |load| load.degraded_cameras),
            cameras_over_limit: fleet.cameras_over_limit,
            invalid_records: fleet.invalid_records,
            status_age_s: now.ms_since(worker.at) / 1000,
        }
    }
}

fn camera_line(camera: &CameraStatusRecord, now: Timestamp) -> CameraLine {
    CameraLine {
        camera: camera.camera.clone(),
        owner: camera.worker.clone(),
        epoch: camera.epoch.0,
        status: camera.status,
        fps: camera.fps,
        age_ms: camera.age_ms,
        lag: camera.ledger.spooled + camera.ledger.in_flight,
        priority: camera.priority,
        degraded: camera.degraded,
        detail: camera.detail.clone(),
        status_age_s: now.ms_since(camera.at) / 1000,
    }
}

/// Formats a time in milliseconds, or a dash for `None`.
fn ms<T: fmt::Display>(age: Option<T>) -> String {
    age.map_or("-".into(), |age| format!("{age} ms"))
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = |ids: &mut dyn Iterator<Item = usize>| ids.max().unwrap_or(0).max(6);
        let width = widest(&mut self.workers.iter().map(|worker| worker.worker.as_str().len()));
        writeln!(
            f,
            "{:width$}  {:8}  {:>7}  {:>6}  {:>7}  {:>5}  {:>8}  {:>8}  {:>4}  partitions",
            "worker", "state", "cameras", "fps", "device", "busy", "age", "degraded", "seen"
        )?;
        for worker in &self.workers {
            let partitions: Vec<String> = worker.partitions.iter().map(i32::to_string).collect();
            writeln!(
                f,
                "{:width$}  {:8}  {:>7}  {:>6.1}  {:>7}  {:>3.0} %  {:>8}  {:>8}  {:>2} s  {}",
                worker.worker.as_str(),
                worker.state.as_str(),
                worker.cameras,
                worker.fps,
                worker.device,
                worker.device_busy * 100.0,
                ms(worker.age_ms),
                worker.degraded_cameras,
                worker.status_age_s,
                partitions.join(" "),
            )?;
            if worker.cameras_over_limit > 0 {
                writeln!(
                    f,
                    "{:width$}  {} cameras beyond `max_cameras` do not run",
                    "", worker.cameras_over_limit
                )?;
            }
            for bad in &worker.invalid_records {
                writeln!(f, "{:width$}  invalid registry record: {bad}", "")?;
            }
        }
        let owner = width;
        let width = widest(&mut self.cameras.iter().map(|camera| camera.camera.as_str().len()));
        writeln!(
            f,
            "\n{:width$}  {:owner$}  {:>6}  {:10}  {:>6}  {:>8}  {:>5}",
            "camera", "owner", "epoch", "status", "fps", "age", "lag"
        )?;
        for camera in &self.cameras {
            write!(
                f,
                "{:width$}  {:owner$}  {:>6}  {:10}  {:>6.1}  {:>8}  {:>5}",
                camera.camera.as_str(),
                camera.owner.as_str(),
                camera.epoch,
                camera.status.as_str(),
                camera.fps,
                ms(camera.age_ms),
                camera.lag,
            )?;
            if let Some(every) = camera.degraded {
                write!(f, "  degraded to 1 in {every}")?;
            }
            if let Some(detail) = &camera.detail {
                write!(f, "  {detail}")?;
            }
            writeln!(f)?;
        }
        write!(f, "{} workers, {} cameras", self.workers.len(), self.cameras.len())
    }
}

#[cfg(test)]
mod tests {
    use lookout_schema::{Epoch, LedgerCounts};

    use super::*;

    fn camera(worker: &str, epoch: u64, at_s: i64) -> StatusRecord {
        StatusRecord::Camera(CameraStatusRecord {
            schema: StatusRecord::SCHEMA.into(),
            at: Timestamp::from_unix_us(at_s * 1_000_000),
            camera: "gate".parse().unwrap(),
            worker: worker.parse().unwrap(),
            epoch: Epoch(epoch),
            session: None,
            status: CameraStatus::Running,
            retry: None,
            detail: None,
            reconnects: 0,
            fps: 5.0,
            age_ms: Some(40),
            clock: None,
            ledger: LedgerCounts { published: 3, spooled: 1, in_flight: 2, ..LedgerCounts::default() },
            priority: Some(50),
            degraded: Some(2),
        })
    }

    #[test]
    fn owner_is_the_worker_with_the_highest_epoch() {
        let mut view = FleetView::new(Duration::from_secs(15));
        view.update(camera("new", 8, 100));
        view.update(camera("old", 7, 105));
        let snapshot = view.snapshot(Timestamp::from_unix_us(110_000_000));
        let line = &snapshot.cameras[0];
        assert_eq!((line.owner.as_str(), line.lag, line.status_age_s), ("new", 3, 10));
        let text = snapshot.to_string();
        assert!(text.contains("gate") && text.contains("degraded to 1 in 2"), "{text}");
        assert!(
            view.snapshot(Timestamp::from_unix_us(116_000_000)).cameras.is_empty(),
            "old status records are not shown"
        );
    }
}
