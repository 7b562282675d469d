//! Tests of the state: records in, alerts out, with the time as an argument and with restarts during a run.

mod restarts;
mod rules;

use std::{collections::BTreeMap, path::Path, time::Duration};

use lookout_schema::{
    AlertRecord, BBox, CameraStatus, CameraStatusRecord, Clock, Detection, Epoch, FrameRecord, LedgerCounts,
    ModelInfo, RecordKind, RegistryRecord, SessionId, Size, StatusRecord, Timestamp, TimingUs, WorkerState,
    WorkerStatusRecord,
};
use lookout_wire::{ReadRecord, RecordWithOffset};

use super::{IgnoreCause, State};
use crate::{parse, rules::MonitorSettings};

const RULES: &str = r#"
[monitor]
[[rule]]
name = "crowd"
kind = "count"
zone = "door"
threshold = 1
for_s = 1
[[rule]]
name = "kerb"
kind = "line"
line = "kerb"
labels = ["person"]
[[rule]]
name = "loiter"
kind = "dwell"
zone = "door"
for_s = 3
[[rule]]
name = "down"
kind = "camera_down"
for_s = 20
[[rule]]
name = "worker"
kind = "worker_down"
for_s = 20
[[rule]]
name = "late"
kind = "latency"
budget_ms = 500
for_s = 1
[[zone]]
camera = "gate"
name = "door"
points = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
[[line]]
camera = "gate"
name = "kerb"
points = [[0.5, 0.0], [0.5, 1.0]]
"#;

pub(crate) fn settings(text: &str) -> MonitorSettings {
    parse(Path::new("monitor.toml"), text, &|_| None).unwrap()
}

/// Returns a time, in milliseconds from the start of the test.
pub(crate) fn at(ms: i64) -> Timestamp {
    Timestamp::from_unix_us(1_795_507_200_000_000 + ms * 1_000)
}

pub(crate) fn session() -> SessionId {
    serde_json::from_str("\"01JDFY9M4K8Z6Q2W3X5V7T9R1P\"").unwrap()
}

/// Returns frame number `seq` of a 10 frames/s stream, with a person at each of `persons`, as fractions of
/// the width.
pub(crate) fn frame(seq: u64, age_ms: i64, persons: &[f32]) -> FrameRecord {
    let captured_at = at(seq as i64 * 100);
    let person = |x: &f32| Detection {
        class_id: 1,
        label: "person".into(),
        score: 0.9,
        bbox: BBox::from([x * 1000.0 - 30.0, 400.0, x * 1000.0 + 30.0, 500.0]),
        classes: Vec::new(),
    };
    FrameRecord {
        schema: FrameRecord::SCHEMA.into(),
        camera: "gate".parse().unwrap(),
        worker: "edge-1".parse().unwrap(),
        epoch: Epoch(1),
        session: session(),
        seq,
        pts_ns: None,
        captured_at,
        clock: Clock::Arrival,
        published_at: captured_at + Duration::from_millis(age_ms.unsigned_abs()),
        age_ms,
        timing_us: TimingUs::default(),
        source: Size { width: 1000, height: 1000 },
        model: model(),
        classifier: None,
        dropped_before: BTreeMap::new(),
        detections: persons.iter().map(person).collect(),
        classes: Vec::new(),
    }
}

fn model() -> ModelInfo {
    ModelInfo { arch: "x".into(), weights: "random:0".into(), precision: "fp32".into() }
}

pub(crate) fn status(ms: i64, status: CameraStatus) -> StatusRecord {
    StatusRecord::Camera(CameraStatusRecord {
        schema: StatusRecord::SCHEMA.into(),
        at: at(ms),
        camera: "gate".parse().unwrap(),
        worker: "edge-1".parse().unwrap(),
        epoch: Epoch(1),
        session: None,
        status,
        retry: None,
        detail: Some("<script>alert(1)</script>".into()),
        reconnects: 0,
        fps: 0.0,
        age_ms: None,
        clock: None,
        ledger: LedgerCounts::default(),
        priority: None,
        degraded: None,
    })
}

pub(crate) fn worker(ms: i64, state: WorkerState) -> StatusRecord {
    StatusRecord::Worker(WorkerStatusRecord {
        schema: StatusRecord::SCHEMA.into(),
        at: at(ms),
        worker: "edge-1".parse().unwrap(),
        version: "0.1.0".into(),
        state,
        started_at: at(0),
        cameras: 1,
        model: model(),
        device: "cpu".into(),
        device_busy: 0.5,
        batch_size: 1.0,
        stage_restarts: 0,
        ledger: LedgerCounts::default(),
        load: None,
        fleet: None,
    })
}

pub(crate) fn placed(kind: RecordKind, offset: i64, record: ReadRecord) -> RecordWithOffset {
    RecordWithOffset { kind, partition: 0, offset, offsets_restart: false, record }
}

fn framed(frame: FrameRecord) -> RecordWithOffset {
    placed(RecordKind::Frame, frame.seq as i64, ReadRecord::Frame(Box::new(frame)))
}

/// Returns the rule and state of each alert.
fn short(alerts: &[AlertRecord]) -> Vec<String> {
    alerts.iter().map(|alert| format!("{} {}", alert.rule, alert.state.as_str())).collect()
}

fn run(state: &mut State, frames: impl IntoIterator<Item = FrameRecord>) -> Vec<AlertRecord> {
    for frame in frames {
        let now = frame.published_at;
        state.apply(framed(frame), now);
    }
    std::mem::take(&mut state.outbound.alerts)
}

#[test]
fn counts_and_ignores_duplicate_stale_and_future_records() {
    let mut state = State::new(&settings(RULES));
    state.apply(framed(frame(0, 60, &[0.5])), at(0));
    let mut old = frame(1, 60, &[]);
    old.epoch = Epoch(0);
    state.apply(framed(old), at(100));
    state.apply(framed(frame(7_000, 60, &[])), at(200));
    for _ in 0..2 {
        state.apply(placed(RecordKind::Frame, 3, ReadRecord::Frame(Box::new(frame(3, 60, &[])))), at(300));
    }
    let unreadable =
        ReadRecord::Unreadable { topic: "t".into(), partition: 0, offset: 5, reason: "no".into() };
    state.apply(placed(RecordKind::Frame, 5, unreadable), at(300));
    let passed: Vec<_> = state.counts.passed.iter().map(|(why, count)| (*why, *count)).collect();
    assert_eq!(passed, [(IgnoreCause::Replayed, 1), (IgnoreCause::StaleEpoch, 1), (IgnoreCause::Future, 1)]);
    assert_eq!(state.counts.unreadable[&RecordKind::Frame], 1);
    assert_eq!(state.cameras.len(), 1);
}

#[test]
fn limits_objects_and_labels_of_a_hostile_frame() {
    let mut state = State::new(&settings(RULES));
    for seq in 0..5 {
        let mut full = frame(seq, 60, &[]);
        full.detections = (0..10_000)
            .map(|n| Detection {
                class_id: n,
                label: format!("<img src=x onerror=alert({n})>"),
                score: 0.9,
                bbox: BBox::from([1.0, 1.0, 900.0, 900.0]),
                classes: Vec::new(),
            })
            .collect();
        let now = full.published_at;
        state.apply(framed(full), now);
    }
    let camera = state.cameras.values().next().unwrap();
    assert!(camera.live.counts.len() <= 65 && camera.bucket.labels.len() <= 65);
    assert!(camera.session_tracker.objects().count() <= 512);
}

#[test]
fn counts_invalid_registry_records() {
    let mut state = State::new(&settings(RULES));
    for (offset, key) in [(0, "k".repeat(5_000)), (1, "gate".into())] {
        let record = RegistryRecord::Bad("not a valid camera record".into());
        state.apply(placed(RecordKind::Camera, offset, ReadRecord::Camera { key, record }), at(0));
    }
    assert_eq!(state.counts.unreadable[&RecordKind::Camera], 2);
}
