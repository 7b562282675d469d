//! Compatibility of the JSON records with the golden files, one or more per kind and version. The files are
//! kept forever: every release must read them, and must write the same field names and values.

use std::{collections::BTreeMap, fmt::Debug};

use lookout_schema::{
    AlertEvidence, AlertLevel, AlertRecord, AlertState, CameraSpec, CameraStatus, CameraStatusRecord,
    ClaimRecord, Classification, Clock, CollisionEvidence, Detection, DropCause, Epoch, ExpireCause,
    FrameRecord, FrameRef, LedgerCounts, LineCrossing, LineDirection, ModelInfo, ObjectRef, Region,
    RetryReason, Size, SnapshotRecord, StatusRecord, TimingUs, TrackEvent, TrackRecord, WorkerFleet,
    WorkerLoad, WorkerState, WorkerStatusRecord, ZoneStay,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

fn read<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(&format!("\"{text}\"")).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn model(arch: &str, weights: &str, precision: &str) -> ModelInfo {
    ModelInfo { arch: arch.into(), weights: weights.into(), precision: precision.into() }
}

/// Asserts that `golden` is decoded to `record`, and that `record` is encoded as `golden`.
fn assert_is<T: Debug + PartialEq + Serialize + for<'a> Deserialize<'a>>(record: &T, golden: &str) {
    let read: T = serde_json::from_str(golden).unwrap_or_else(|error| panic!("{error}: {golden}"));
    assert_eq!(read, *record);
    let golden: Value = serde_json::from_str(golden).unwrap_or_default();
    assert_eq!(serde_json::to_value(record).unwrap_or_default(), golden);
    // A later minor version may add a field.
    let mut later = golden;
    later["new_in_a_later_version"] = json!([1, 2]);
    assert_eq!(serde_json::from_value::<T>(later).ok().as_ref(), Some(record));
}

#[test]
fn reads_and_writes_frame_records_of_version_1() {
    let record = FrameRecord {
        schema: "lookout.frame/1".into(),
        camera: read("north-gate"),
        worker: read("edge-1"),
        epoch: Epoch(7),
        session: read("01JDFY9M4K8Z6Q2W3X5V7T9R1P"),
        seq: 1042,
        pts_ns: Some(34_733_333_333),
        captured_at: read("2026-11-24T08:00:00.123456Z"),
        clock: Clock::Rtcp,
        published_at: read("2026-11-24T08:00:00.184999Z"),
        age_ms: 61,
        timing_us: TimingUs { decode: 812, queue: 2100, infer: 21_544, post: 133 },
        source: Size { width: 1920, height: 1080 },
        model: model("resnet50", "sha256:11ad3fa6", "bf16"),
        classifier: None,
        dropped_before: BTreeMap::from([(DropCause::QueueFull, 2)]),
        detections: vec![Detection {
            class_id: 1,
            label: "person".into(),
            score: 0.9375,
            bbox: [104.0, 220.5, 161.0, 398.25].into(),
            classes: Vec::new(),
        }],
        classes: vec![Classification { class_id: 920, label: "traffic light".into(), score: 0.8125 }],
    };
    assert_eq!(record.schema, FrameRecord::SCHEMA);
    assert_eq!(record.age_ms, record.published_at.ms_since(record.captured_at));
    assert_is(&record, include_str!("golden/frame.1.json"));

    // The optional fields.
    let mut record = record;
    record.classifier = Some(model("resnet18", "sha256:f37072fd", "bf16"));
    record.detections[0].classes = std::mem::take(&mut record.classes);
    assert_is(&record, include_str!("golden/frame.1.classify.json"));
}

#[test]
fn reads_and_writes_status_records_of_version_1() {
    let ledger = LedgerCounts {
        received: 100,
        processing: 1,
        published: 96,
        delivered: 90,
        in_flight: 2,
        spooled: 3,
        dropped: BTreeMap::from([(DropCause::FpsLimit, 1), (DropCause::Stale, 2)]),
        expired: BTreeMap::from([(ExpireCause::BufferFull, 1)]),
    };
    assert_eq!(ledger.check(), Ok(()));
    let camera = CameraStatusRecord {
        schema: "lookout.status/1".into(),
        at: read("2026-11-24T08:00:05.000000Z"),
        camera: read("north-gate"),
        worker: read("edge-1"),
        epoch: Epoch(7),
        session: Some(read("01JDFY9M4K8Z6Q2W3X5V7T9R1P")),
        status: CameraStatus::Retrying,
        retry: Some(RetryReason::Stalled),
        detail: Some("rtsp://***@camera.example/stream1: no frame has come for 5000 ms".into()),
        reconnects: 3,
        fps: 9.5,
        age_ms: Some(61),
        clock: Some(Clock::Rtcp),
        ledger,
        priority: None,
        degraded: None,
    };
    assert_eq!(camera.schema, StatusRecord::SCHEMA);
    assert_is(&StatusRecord::Camera(camera.clone()), include_str!("golden/status.camera.1.json"));
    let degraded = CameraStatusRecord {
        epoch: Epoch(42),
        session: None,
        status: CameraStatus::Running,
        retry: None,
        detail: None,
        reconnects: 0,
        fps: 2.5,
        age_ms: None,
        clock: None,
        ledger: LedgerCounts::default(),
        priority: Some(20),
        degraded: Some(4),
        ..camera
    };
    assert_is(&StatusRecord::Camera(degraded), include_str!("golden/status.camera.1b.json"));
    let worker = WorkerStatusRecord {
        schema: "lookout.status/1".into(),
        at: read("2026-11-24T08:00:05.000000Z"),
        worker: read("edge-1"),
        version: "0.1.0".into(),
        state: WorkerState::Running,
        started_at: read("2026-11-24T07:00:00.000000Z"),
        cameras: 12,
        model: model("resnet50", "random:0", "fp32"),
        device: "cuda:0".into(),
        device_busy: 0.75,
        batch_size: 6.5,
        stage_restarts: 0,
        ledger: LedgerCounts::default(),
        load: None,
        fleet: None,
    };
    assert_is(&StatusRecord::Worker(worker.clone()), include_str!("golden/status.worker.1.json"));
    let of_a_fleet = WorkerStatusRecord {
        load: Some(WorkerLoad { age_ms: Some(180), latency_budget_ms: Some(300), degraded_cameras: 2 }),
        fleet: Some(WorkerFleet {
            partitions: vec![1, 4],
            max_cameras: Some(16),
            cameras_over_limit: 3,
            invalid_records: vec!["`a b` is no camera id".into()],
        }),
        ..worker
    };
    assert_is(&StatusRecord::Worker(of_a_fleet), include_str!("golden/status.worker.1b.json"));
}

#[test]
fn reads_and_writes_camera_and_claim_records_of_version_1() {
    let camera = CameraSpec {
        version: 3,
        updated_at: read("2026-11-24T08:00:00.000000Z"),
        fps: Some(10.0),
        priority: 80,
        regions: Region::new(vec![[0.0, 0.0], [0.5, 0.0], [0.5, 1.0]]).into_iter().collect(),
        classes: vec!["person".into(), "car".into()],
        labels: BTreeMap::from([("site".into(), "plant 2".into()), ("floor".into(), "1".into())]),
        enabled: false,
        options: BTreeMap::from([
            ("transport".into(), json!("udp")),
            ("stall_timeout_ms".into(), json!(2000)),
        ]),
        ..CameraSpec::new(read("north-gate"), "rtsp://viewer:${secret:north-gate}@camera.example/stream1")
    };
    assert_is(&camera, include_str!("golden/camera.1.json"));
    let mut watched = camera;
    watched.zones.insert("door".into(), watched.regions[0].clone());
    watched.lines.insert("kerb".into(), [[0.0, 0.5], [1.0, 0.75]]);
    assert_is(&watched, include_str!("golden/camera.1b.json"));
    let least =
        r#"{"schema":"lookout.camera/1","id":"a","version":1,"updated_at":"2026-11-24T08:00:00Z","uri":"x"}"#;
    let least: CameraSpec = serde_json::from_str(least).unwrap_or_else(|error| panic!("{error}"));
    assert!(least.says_the_same_as(&CameraSpec::new(read("a"), "x")), "{least:?}");
    let claim = ClaimRecord {
        schema: ClaimRecord::SCHEMA.into(),
        partition: 7,
        worker: read("edge-1"),
        at: read("2026-11-24T08:00:00.000000Z"),
    };
    assert_is(&claim, include_str!("golden/claim.1.json"));
}

fn object() -> ObjectRef {
    let bbox = [104.0, 220.5, 161.0, 398.25].into();
    ObjectRef { tracker: "adas".into(), id: 17, label: "car".into(), score: 0.9375, bbox }
}

#[test]
fn reads_and_writes_track_records_of_version_1() {
    let mut record = TrackRecord {
        schema: "lookout.track/1".into(),
        camera: read("north-gate"),
        epoch: Epoch(7),
        session: read("01JDFY9M4K8Z6Q2W3X5V7T9R1P"),
        tracker: "monitor".into(),
        id: 17,
        event: TrackEvent::Update,
        seq: 1042,
        captured_at: read("2026-11-24T08:00:00.123456Z"),
        clock: Clock::Rtcp,
        published_at: read("2026-11-24T08:00:00.250000Z"),
        age_ms: 126,
        class_id: 1,
        label: "person".into(),
        score: 0.9375,
        source: Size { width: 1920, height: 1080 },
        bbox: [104.0, 220.5, 161.0, 398.25].into(),
        velocity: [12.5, -3.0],
        first_seen_at: read("2026-11-24T07:59:48.000000Z"),
        last_seen_at: read("2026-11-24T08:00:00.123456Z"),
        hits: 121,
        zones: vec![ZoneStay { zone: "door".into(), dwell_s: 4.5 }],
        crossed: vec![LineCrossing { line: "kerb".into(), direction: LineDirection::LeftToRight }],
    };
    assert_eq!((record.schema.as_str(), record.check()), (TrackRecord::SCHEMA, Ok(())));
    assert_is(&record, include_str!("golden/track.1.json"));
    record.bbox.x2 = f32::INFINITY;
    assert_eq!(record.check().map_err(|wrong| wrong.field), Err("box".into()));
}

#[test]
fn reads_and_writes_alert_records_of_version_1() {
    let mut record = AlertRecord {
        schema: "lookout.alert/1".into(),
        id: "adas/collision/north-gate/01JDFY9M4K8Z6Q2W3X5V7T9R1P/17/1".into(),
        version: 2,
        consumer: "adas".into(),
        rule: "collision".into(),
        state: AlertState::Changed,
        level: AlertLevel::Critical,
        at: read("2026-11-24T08:00:00.123456Z"),
        raised_at: read("2026-11-24T07:59:58.000000Z"),
        published_at: read("2026-11-24T08:00:00.250000Z"),
        age_ms: 126,
        camera: Some(read("north-gate")),
        worker: None,
        frame: Some(FrameRef { epoch: Epoch(7), session: read("01JDFY9M4K8Z6Q2W3X5V7T9R1P"), seq: 1042 }),
        message: "car ahead in 1.8 s".into(),
        evidence: AlertEvidence::Collision(CollisionEvidence {
            object: object(),
            ttc_s: 1.75,
            ttc_low_s: 1.5,
            ttc_high_s: Some(2.25),
            observed_s: 3.0,
            distance_m: Some(17.5),
            closing_speed_m_s: Some(10.0),
        }),
    };
    assert_eq!((record.schema.as_str(), record.check()), (AlertRecord::SCHEMA, Ok(())));
    assert_is(&record, include_str!("golden/alert.collision.1.json"));
    record.consumer = "monitor".into();
    let evidence = [
        AlertEvidence::Count { zone: Some("door".into()), count: 5, limit: 3, for_s: 10.5 },
        AlertEvidence::Count { zone: None, count: 5, limit: 3, for_s: 10.5 },
        AlertEvidence::Line { line: "kerb".into(), direction: LineDirection::RightToLeft, object: object() },
        AlertEvidence::Dwell { zone: "door".into(), dwell_s: 61.5, object: object() },
        AlertEvidence::CameraDown {
            status: CameraStatus::Retrying,
            detail: Some("stalled".into()),
            for_s: 30.5,
        },
        AlertEvidence::WorkerDown { for_s: 30.5 },
        AlertEvidence::Latency { age_ms: 1200, budget_ms: 500, for_s: 10.5 },
        AlertEvidence::Other {
            rule_kind: "absence".into(),
            numbers: [("count".into(), 0.0), ("for_s".into(), 10.5)].into(),
            texts: [("zone".into(), "desk".into())].into(),
            object: None,
        },
    ];
    let goldens: Vec<Value> = read_all(include_str!("golden/alert.1.jsonl"));
    assert_eq!(goldens.len(), evidence.len());
    for (evidence, golden) in evidence.into_iter().zip(goldens) {
        record.evidence = evidence;
        assert_eq!(record.check(), Ok(()));
        assert_is(&record, &golden.to_string());
    }
}

fn read_all(lines: &str) -> Vec<Value> {
    serde_json::Deserializer::from_str(lines).into_iter().filter_map(Result::ok).collect()
}

#[test]
fn reads_and_writes_snapshot_records_of_version_1() {
    let mut record = SnapshotRecord {
        schema: "lookout.snapshot/1".into(),
        camera: read("north-gate"),
        worker: read("edge-1"),
        epoch: Epoch(7),
        session: read("01JDFY9M4K8Z6Q2W3X5V7T9R1P"),
        seq: 1042,
        captured_at: read("2026-11-24T08:00:00.123456Z"),
        clock: Clock::Rtcp,
        source: Size { width: 1920, height: 1080 },
        image: Size { width: 320, height: 180 },
        jpeg: vec![0xFF, 0xD8, 0xFF, 0xE0, 0, 1],
        detections: Vec::new(),
    };
    assert_eq!((record.schema.as_str(), record.check()), (SnapshotRecord::SCHEMA, Ok(())));
    assert_is(&record, include_str!("golden/snapshot.1.json"));
    record.jpeg = b"<script>".to_vec();
    assert_eq!(record.check().map_err(|wrong| wrong.field), Err("jpeg".into()));
}
