//! Liveness and readiness of the worker.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lookout_schema::{CameraId, CameraStatus, RecordKind, Timestamp, WorkerState};
use lookout_stage::{CameraLedger, SinkHealth};
use serde::Serialize;

/// The supervisor's last view of a camera.
#[derive(Debug, Clone)]
pub(crate) struct CameraView {
    pub(crate) id: CameraId,
    pub(crate) status: CameraStatus,
    pub(crate) reconnects: u64,
    /// The maximum time between two of its records while frames flow.
    pub(crate) longest_gap: Duration,
    pub(crate) ledger: Arc<CameraLedger>,
}

/// The supervisor's last view of the worker.
#[derive(Debug, Clone)]
pub(crate) struct WorkerView {
    pub(crate) at: Instant,
    pub(crate) state: WorkerState,
    pub(crate) cameras: Vec<CameraView>,
    pub(crate) sink: SinkHealth,
    /// For a worker of a fleet: whether it has received its assignment, which may be empty. `None` for other workers.
    pub(crate) joined: Option<bool>,
    /// The current step of loading the network, until it is loaded.
    pub(crate) loading: Option<String>,
}

/// A supervisor that has not updated its view for this long is stuck.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// A broker that has not acknowledged a record for this long blocks the flow.
const ACK_WITHIN: Duration = Duration::from_secs(10);

/// The response of `/readyz`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Readiness {
    pub(crate) ready: bool,
    /// The reasons against being ready.
    pub(crate) reasons: Vec<String>,
    /// Number of cameras whose records flow.
    pub(crate) flowing: usize,
    /// Cameras that have not ended and whose records do not flow.
    pub(crate) silent: Vec<CameraId>,
    /// The cameras in `silent` that have not had a record yet.
    #[serde(skip)]
    pub(crate) unseen: Vec<CameraId>,
    /// Problems that do not affect readiness.
    pub(crate) warnings: Vec<String>,
}

impl WorkerView {
    /// Returns whether the supervisor still runs.
    pub(crate) fn is_alive(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < HEARTBEAT
    }

    /// Returns the readiness. Ready means that frames flow from at least one camera to the broker. A worker of a fleet
    /// without a camera is a standby, and is also ready.
    pub(crate) fn readiness(&self, now: Timestamp) -> Readiness {
        let mut reasons = Vec::new();
        if self.state != WorkerState::Running {
            reasons.push(format!("the worker is {}", self.state.as_str()));
        }
        if let Some(step) = &self.loading {
            reasons.push(format!("network: {step}"));
        }
        reasons.extend(self.kafka_reasons());
        let mut flowing = 0;
        let mut silent = Vec::new();
        let mut unseen = Vec::new();
        let mut connecting = Vec::new();
        for camera in self.cameras.iter().filter(|camera| !camera.status.is_final()) {
            let last = camera.ledger.last_published_us();
            let gap_us = now.as_unix_us().saturating_sub(last as i64);
            if last > 0 && gap_us <= camera.longest_gap.as_micros() as i64 {
                flowing += 1;
            } else {
                silent.push(camera.id.clone());
                unseen.extend((last == 0).then(|| camera.id.clone()));
                if camera.status != CameraStatus::Running {
                    connecting.push(format!("{} ({})", camera.id, camera.status.as_str()));
                }
            }
        }
        if self.joined == Some(false) {
            reasons.push("fleet: this worker has not joined the consumer group".into());
        }
        let stands_by = self.joined == Some(true) && silent.is_empty();
        if flowing == 0 && !stands_by {
            reasons.push(match connecting.as_slice() {
                [] => "no camera publishes records".into(),
                connecting => format!("no camera publishes records: {}", listed(connecting)),
            });
        }
        let refused = self.sink.refused.iter().filter(|(kind, _)| *kind == RecordKind::Snapshot);
        let warnings = refused.map(|(_, why)| format!("kafka: {why}")).collect();
        Readiness { ready: reasons.is_empty(), reasons, flowing, silent, unseen, warnings }
    }

    /// Returns the reasons why records do not reach the broker.
    fn kafka_reasons(&self) -> Vec<String> {
        if !self.sink.connected {
            let why = self.sink.last_error.as_deref().unwrap_or("no broker is connected");
            return vec![format!("kafka: {why}")];
        }
        let mut reasons = Vec::new();
        // Missing snapshots do not affect the worker's main function.
        for (_, why) in self.sink.refused.iter().filter(|(kind, _)| *kind != RecordKind::Snapshot) {
            reasons.push(format!("kafka: {why}"));
        }
        if !self.sink.refused_cameras.is_empty() {
            let cameras = names(self.sink.refused_cameras.iter());
            reasons.push(format!(
                "kafka: the broker refuses all recent records of {cameras}; the log has the reasons"
            ));
        }
        if let Some(waited) = self.sink.oldest_unacked.filter(|waited| *waited > ACK_WITHIN) {
            let held_up = self.sink.held_up.iter().filter(|(_, waited)| *waited > ACK_WITHIN);
            let cameras = names(held_up.map(|(camera, _)| camera));
            reasons.push(format!(
                "kafka: no acknowledgment for {} s for records of {cameras}",
                waited.as_secs()
            ));
        }
        reasons
    }
}

/// Formats the first few of `cameras` and the number of the others.
fn names<'a>(cameras: impl Iterator<Item = &'a CameraId>) -> String {
    const SHOWN: usize = 5;
    let cameras: Vec<&str> = cameras.map(CameraId::as_str).collect();
    match cameras.len() {
        0 => "no camera".into(),
        count if count > SHOWN => format!("{} and {} more", cameras[..SHOWN].join(", "), count - SHOWN),
        _ => cameras.join(", "),
    }
}

impl Readiness {
    /// Returns in one line what frames wait for: the reasons against being ready, or the cameras without a record.
    pub(crate) fn waits_for(&self) -> String {
        if self.reasons.is_empty() {
            let unseen: Vec<String> = self.unseen.iter().map(CameraId::to_string).collect();
            return format!("the first record of {}", listed(&unseen));
        }
        self.reasons.join("; ")
    }
}

/// Formats the first few of `items` and the number of the others.
fn listed(items: &[String]) -> String {
    const FIRST: usize = 8;
    let first = items.iter().take(FIRST).map(String::as_str).collect::<Vec<_>>().join(", ");
    if items.len() > FIRST { format!("{first} and {} more", items.len() - FIRST) } else { first }
}

#[cfg(test)]
mod tests {
    use lookout_schema::SessionId;

    use super::*;

    fn view(status: CameraStatus, published_s: Option<i64>) -> WorkerView {
        let id: CameraId = "gate".parse().unwrap();
        let ledger = CameraLedger::new(id.clone());
        if let Some(s) = published_s {
            ledger.receive(SessionId::generate(), 0).published(s * 1_000_000);
        }
        let sink = SinkHealth { connected: true, ..SinkHealth::default() };
        let longest_gap = Duration::from_secs(10);
        let camera = CameraView { id, status, reconnects: 0, longest_gap, ledger };
        WorkerView {
            at: Instant::now(),
            state: WorkerState::Running,
            cameras: vec![camera],
            sink,
            joined: None,
            loading: None,
        }
    }

    fn at(s: i64) -> Timestamp {
        Timestamp::from_unix_us(s * 1_000_000)
    }

    #[test]
    fn a_worker_is_ready_when_a_camera_publishes_records() {
        assert!(view(CameraStatus::Running, Some(100)).readiness(at(105)).ready);
        let silent = view(CameraStatus::Running, Some(100)).readiness(at(111));
        assert!(!silent.ready && silent.silent.len() == 1, "{silent:?}");
        assert!(!view(CameraStatus::Running, None).readiness(at(1)).ready);
        assert!(!view(CameraStatus::Ended, Some(100)).readiness(at(101)).ready);
    }

    #[test]
    fn a_starting_worker_reports_what_it_waits_for() {
        let mut worker = view(CameraStatus::Connecting, None);
        worker.loading = Some("reading the weights".into());
        let readiness = worker.readiness(at(1));
        assert!(!readiness.ready);
        assert_eq!(
            readiness.waits_for(),
            "network: reading the weights; no camera publishes records: gate (connecting)"
        );
        let flows = view(CameraStatus::Running, Some(100));
        assert!(flows.readiness(at(101)).ready);
    }

    #[test]
    fn a_fleet_worker_without_cameras_is_a_ready_standby() {
        let mut worker = view(CameraStatus::Running, None);
        worker.joined = Some(true);
        assert!(!worker.readiness(at(1)).ready, "its camera has published no record");
        worker.cameras.clear();
        assert!(worker.readiness(at(1)).ready);
        worker.joined = Some(false);
        assert!(worker.readiness(at(1)).reasons[0].contains("not joined"));
    }

    #[test]
    fn a_worker_with_a_disconnected_or_slow_broker_is_not_ready() {
        let mut worker = view(CameraStatus::Running, Some(100));
        worker.sink.oldest_unacked = Some(Duration::from_secs(11));
        worker.sink.held_up = vec![("gate".parse().unwrap(), Duration::from_secs(11))];
        assert!(
            worker.readiness(at(101)).reasons[0].contains("no acknowledgment for 11 s for records of gate")
        );
        worker.sink.connected = false;
        worker.sink.last_error = Some("connection refused".into());
        assert_eq!(worker.readiness(at(101)).reasons, ["kafka: connection refused"]);
    }

    #[test]
    fn a_worker_is_not_ready_while_a_topic_refuses_records() {
        let mut worker = view(CameraStatus::Running, Some(100));
        for kind in [RecordKind::Frame, RecordKind::Status] {
            worker.sink.refused = vec![(kind, "`topic` refuses records; grant WRITE".into())];
            let readiness = worker.readiness(at(101));
            assert_eq!(readiness.reasons, ["kafka: `topic` refuses records; grant WRITE"]);
            assert!(!readiness.ready);
        }
        worker.sink.refused = vec![(RecordKind::Snapshot, "`snapshots` refuses records".into())];
        let readiness = worker.readiness(at(101));
        assert!(readiness.ready && readiness.warnings[0].contains("`snapshots`"), "{readiness:?}");
    }

    #[test]
    fn a_worker_is_not_ready_while_all_records_of_a_camera_are_refused() {
        let mut worker = view(CameraStatus::Running, Some(100));
        worker.sink.refused_cameras = vec!["gate".parse().unwrap()];
        assert!(worker.readiness(at(101)).reasons[0].contains("gate"));
    }

    #[test]
    fn a_stuck_supervisor_is_not_alive() {
        let worker = view(CameraStatus::Running, None);
        assert!(worker.is_alive(worker.at + Duration::from_secs(9)));
        assert!(!worker.is_alive(worker.at + Duration::from_secs(10)));
    }
}
