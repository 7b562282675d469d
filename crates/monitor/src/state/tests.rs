//! Tests of the state: records in, alerts out, with the time as an argument and with restarts during a run.

use std::{collections::BTreeMap, path::Path, time::Duration};

use lookout_schema::{
    AlertEvidence, AlertRecord, AlertState, BBox, CameraSpec, CameraStatus, CameraStatusRecord, Clock,
    Detection, Epoch, FrameRecord, LedgerCounts, ModelInfo, RecordKind, Region, RegistryRecord, SessionId,
    Size, StatusRecord, Timestamp, TimingUs, WorkerState, WorkerStatusRecord,
};
use lookout_wire::{ReadRecord, RecordWithOffset};
use proptest::prelude::*;

use super::{Checkpoint, IgnoreCause, RestoredState, State};
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
fn count_rule_raises_and_clears() {
    let mut state = State::new(&settings(RULES));
    let two = |seqs: std::ops::Range<u64>| seqs.map(|seq| frame(seq, 60, &[0.2, 0.8]));
    assert_eq!(run(&mut state, two(0..10)), []);
    let raised = run(&mut state, two(10..25));
    assert_eq!(short(&raised), ["crowd raised"]);
    assert_eq!(raised[0].id, "monitor/crowd/gate/01JDFY9M4K8Z6Q2W3X5V7T9R1P/0");
    // A person who is undetected for a moment has not left; one who stays undetected has.
    let cleared = run(&mut state, (25..80).map(|seq| frame(seq, 60, &[0.2])));
    assert_eq!(short(&cleared), ["loiter raised", "crowd cleared"]);
    let crowd = cleared.iter().find(|alert| alert.rule == "crowd").unwrap();
    assert_eq!((crowd.id.as_str(), crowd.version), (raised[0].id.as_str(), 2));
}

#[test]
fn line_rule_raises_one_alert_per_crossing() {
    let mut state = State::new(&settings(RULES));
    let walk = (0..40).map(|seq| frame(seq, 60, &[0.3 + seq as f32 * 0.01]));
    let alerts = run(&mut state, walk);
    let kerb: Vec<_> = alerts.iter().filter(|alert| alert.rule == "kerb").collect();
    assert_eq!(kerb.len(), 1, "{alerts:?}");
    assert!(kerb[0].message.contains("person has crossed line kerb of gate"), "{}", kerb[0].message);
    assert_eq!(state.cameras.values().next().unwrap().line_totals["kerb"].iter().sum::<u64>(), 1);
}

#[test]
fn dwell_rule_raises_and_clears_at_a_new_session() {
    let mut state = State::new(&settings(RULES));
    let alerts = run(&mut state, (0..40).map(|seq| frame(seq, 60, &[0.2])));
    assert_eq!(short(&alerts), ["loiter raised"]);
    // A new session restarts the track ids.
    let mut next = frame(0, 60, &[]);
    next.session = SessionId::generate();
    next.captured_at = at(5_000);
    next.published_at = at(5_060);
    state.apply(placed(RecordKind::Frame, 40, ReadRecord::Frame(Box::new(next))), at(5_060));
    assert_eq!(short(&std::mem::take(&mut state.outbound.alerts)), ["loiter cleared"]);
}

#[test]
fn latency_rule_raises_and_clears() {
    let mut state = State::new(&settings(RULES));
    assert_eq!(run(&mut state, (0..20).map(|seq| frame(seq, 60, &[]))), []);
    let raised = run(&mut state, (20..60).map(|seq| frame(seq, 2_000, &[])));
    assert_eq!(short(&raised), ["late raised"]);
    assert_eq!(short(&run(&mut state, (60..120).map(|seq| frame(seq, 60, &[])))), ["late cleared"]);
}

fn take_status(state: &mut State, offset: i64, status: StatusRecord, now: Timestamp) {
    state.apply(placed(RecordKind::Status, offset, ReadRecord::Status(Box::new(status))), now);
}

#[test]
fn camera_down_rule_raises_and_clears() {
    let mut state = State::new(&settings(RULES));
    take_status(&mut state, 0, status(0, CameraStatus::Running), at(10));
    take_status(&mut state, 1, status(5_000, CameraStatus::Retrying), at(5_010));
    state.tick(at(24_000), true);
    assert_eq!(state.outbound.alerts, []);
    // Unread records may change the result.
    state.tick(at(40_000), false);
    assert_eq!(state.outbound.alerts, []);
    state.tick(at(40_000), true);
    state.tick(at(41_000), true);
    let raised = std::mem::take(&mut state.outbound.alerts);
    assert_eq!(short(&raised), ["down raised"]);
    assert!(raised[0].message.contains("its status is retrying"), "{}", raised[0].message);
    assert_eq!(raised[0].id, format!("monitor/down/gate/{}", at(5_000).as_unix_us()));
    take_status(&mut state, 2, status(42_000, CameraStatus::Running), at(42_010));
    state.tick(at(42_250), true);
    assert_eq!(short(&std::mem::take(&mut state.outbound.alerts)), ["down cleared"]);
    // A camera without any records is also reported.
    state.tick(at(90_000), true);
    assert_eq!(short(&state.outbound.alerts), ["down raised"]);
}

#[test]
fn disabled_and_removed_cameras_raise_no_camera_down_alert() {
    let mut state = State::new(&settings(RULES));
    let mut spec = CameraSpec::new("gate".parse().unwrap(), "test://ball");
    spec.enabled = false;
    let put = |spec: &CameraSpec| RegistryRecord::Camera(Box::new(spec.clone()));
    let say_so = |record| ReadRecord::Camera { key: "gate".into(), record };
    take_status(&mut state, 0, status(0, CameraStatus::Stopped), at(10));
    state.apply(placed(RecordKind::Camera, 0, say_so(put(&spec))), at(20));
    state.tick(at(60_000), true);
    assert_eq!(state.outbound.alerts, []);
    spec.enabled = true;
    spec.zones.insert("yard".into(), Region::new(vec![[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]).unwrap());
    state.apply(placed(RecordKind::Camera, 1, say_so(put(&spec))), at(60_010));
    assert!(state.cameras.values().all(|camera| camera.places.zones.contains_key("yard")));
    state.tick(at(60_250), true);
    assert_eq!(short(&std::mem::take(&mut state.outbound.alerts)), ["down raised"]);
    state.apply(placed(RecordKind::Camera, 2, say_so(RegistryRecord::Removed)), at(61_000));
    assert!(state.cameras.values().all(|camera| camera.places.zones.contains_key("door")));
    state.tick(at(61_250), true);
    assert_eq!(short(&std::mem::take(&mut state.outbound.alerts)), ["down cleared"]);
    state.tick(at(200_000), true);
    assert!(state.cameras.is_empty());
}

#[test]
fn absence_rule_raises_and_clears() {
    let rule = "[monitor]\n[[rule]]\nname = \"desk\"\nkind = \"absence\"\nfor_s = 1\n";
    let mut state = State::new(&settings(rule));
    assert_eq!(run(&mut state, (0..10).map(|seq| frame(seq, 60, &[0.2]))), []);
    let raised = run(&mut state, (10..45).map(|seq| frame(seq, 60, &[])));
    assert_eq!(short(&raised), ["desk raised"]);
    let AlertEvidence::Other { rule_kind, numbers, .. } = &raised[0].evidence else { panic!("{raised:?}") };
    assert_eq!((rule_kind.as_str(), numbers["count"], numbers["min_count"]), ("absence", 0.0, 1.0));
    assert_eq!(raised[0].check(), Ok(()));
    let cleared = run(&mut state, (45..75).map(|seq| frame(seq, 60, &[0.2])));
    assert_eq!(short(&cleared), ["desk cleared"]);
}

#[test]
fn worker_down_rule_raises_and_clears() {
    let mut state = State::new(&settings(RULES));
    take_status(&mut state, 0, worker(0, WorkerState::Running), at(10));
    state.tick(at(19_000), true);
    assert_eq!(state.outbound.alerts, []);
    state.tick(at(30_000), true);
    assert_eq!(short(&std::mem::take(&mut state.outbound.alerts)), ["worker raised"]);
    take_status(&mut state, 1, worker(31_000, WorkerState::Stopped), at(31_010));
    state.tick(at(31_250), true);
    state.tick(at(90_000), true);
    assert_eq!(short(&std::mem::take(&mut state.outbound.alerts)), ["worker cleared"]);
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

/// A fake store.
#[derive(Default)]
struct Kept1 {
    kept: RestoredState,
    alerts: BTreeMap<(String, u32), usize>,
    minutes: BTreeMap<i64, u64>,
}

impl Kept1 {
    fn commit(&mut self, checkpoint: Checkpoint) {
        if let Some((places, topic_ids)) = checkpoint.places {
            (self.kept.places, self.kept.topic_ids) = (places, topic_ids);
        }
        for (id, state) in checkpoint.cameras {
            self.kept.cameras.retain(|(known, _)| known != id.as_str());
            self.kept.cameras.push((id.to_string(), state));
        }
        for (_, bucket) in checkpoint.buckets {
            *self.minutes.entry(bucket.minute).or_default() += bucket.frames;
        }
        for alert in checkpoint.alerts {
            *self.alerts.entry((alert.id, alert.version)).or_default() += 1;
        }
    }

    fn restart(&self) -> State {
        let mut state = State::new(&settings(RULES));
        let RestoredState { places, topic_ids, cameras, workers } = &self.kept;
        let kept = RestoredState {
            places: places.clone(),
            topic_ids: topic_ids.clone(),
            cameras: cameras.clone(),
            workers: workers.clone(),
        };
        state.resume(kept, at(0));
        state
    }
}

/// Returns a frame of a scene with one person who walks back and forth, and others who come and leave.
fn walk(seq: u64) -> FrameRecord {
    let x = 0.1 + 0.8 * ((seq as f32 / 30.0).sin() + 1.0) / 2.0;
    let mut persons = vec![x];
    if seq / 150 % 2 == 1 {
        persons.push(0.97);
    }
    frame(seq, if (300..400).contains(&seq) { 2_000 } else { 60 }, &persons)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_alert_or_minute_is_lost_or_duplicated_by_restarts(stops in prop::collection::btree_set(1u64..900, 1..6), whole in 3u64..60) {
        let whole_run = {
            let (mut state, mut store) = (State::new(&settings(RULES)), Kept1::default());
            for seq in 0..900 {
                let now = walk(seq).published_at;
                state.apply(framed(walk(seq)), now);
            }
            store.commit(state.checkpoint(true));
            store
        };
        let mut store = Kept1::default();
        let mut state = store.restart();
        let mut seq = 0;
        let mut stops = stops.into_iter().peekable();
        while seq < 900 {
            let now = walk(seq).published_at;
            state.apply(framed(walk(seq)), now);
            seq += 1;
            if seq % whole == 0 {
                store.commit(state.checkpoint(true));
            } else if state.is_due() {
                store.commit(state.checkpoint(false));
            }
            if stops.next_if(|stop| *stop <= seq).is_some() {
                // The process is killed: uncommitted state is lost, and reading resumes from the stored
                // offsets.
                state = store.restart();
                seq = store.kept.places.values().next().map_or(0, |place| *place as u64);
            }
        }
        store.commit(state.checkpoint(true));
        prop_assert_eq!(&store.alerts, &whole_run.alerts);
        prop_assert!(store.alerts.len() > 10 && store.alerts.values().all(|count| *count == 1));
        prop_assert_eq!(&store.minutes, &whole_run.minutes);
    }
}

#[test]
fn reads_a_recreated_topic_from_its_beginning() {
    let mut store = Kept1::default();
    let mut state = store.restart();
    run(&mut state, (0..50).map(walk));
    store.commit(state.checkpoint(true));
    let mut state = store.restart();
    let mut first = walk(50);
    first.session = SessionId::generate();
    state.apply(placed(RecordKind::Frame, 0, ReadRecord::Frame(Box::new(first))), at(5_100));
    assert_eq!(state.counts.passed.len(), 0, "{:?}", state.counts.passed);
}

#[test]
fn reads_a_topic_that_is_recreated_while_the_monitor_runs() {
    let mut state = State::new(&settings(RULES));
    let frames = |state: &State| state.cameras.values().map(|camera| camera.bucket.frames).sum::<u64>();
    let of_epoch = |seq: u64, epoch: u64| FrameRecord { epoch: Epoch(epoch), ..frame(seq, 60, &[0.5]) };
    for seq in 0..20 {
        state.apply(framed(of_epoch(seq, 7)), at(seq as i64 * 100 + 60));
    }
    assert_eq!(frames(&state), 20);
    // The topic of the claims was recreated, too, so the epochs restart.
    for seq in 20..25 {
        let record = ReadRecord::Frame(Box::new(of_epoch(seq, 2)));
        let placed = RecordWithOffset {
            offsets_restart: seq == 20,
            ..placed(RecordKind::Frame, seq as i64 - 20, record)
        };
        state.apply(placed, at(seq as i64 * 100 + 60));
    }
    assert_eq!((frames(&state), &state.counts.passed), (25, &BTreeMap::new()));
}

#[test]
fn forgets_offsets_of_a_topic_with_another_id() {
    let mut state = State::new(&settings(RULES));
    let ids = |frames: &str| {
        BTreeMap::from([(RecordKind::Frame, frames.to_owned()), (RecordKind::Status, "s".into())])
    };
    state.set_topic_ids(&ids("one"));
    state.apply(framed(frame(9, 60, &[])), at(100));
    state.apply(
        placed(RecordKind::Status, 4, ReadRecord::Status(Box::new(worker(100, WorkerState::Running)))),
        at(100),
    );
    state.set_topic_ids(&ids("one"));
    assert_eq!(state.places().0.len(), 2);
    state.set_topic_ids(&ids("two"));
    assert_eq!(state.places(), (BTreeMap::from([((RecordKind::Status, 0), 5)]), ids("two")));
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

#[test]
fn clears_alerts_of_a_removed_rule() {
    let mut store = Kept1::default();
    let mut state = store.restart();
    for seq in 0..40 {
        state.apply(framed(frame(seq, 60, &[0.2])), at(seq as i64 * 100 + 60));
    }
    store.commit(state.checkpoint(true));
    let mut state = State::new(&settings("[monitor]"));
    let RestoredState { places, cameras, .. } = &store.kept;
    let kept = RestoredState { places: places.clone(), cameras: cameras.clone(), ..RestoredState::default() };
    state.resume(kept, at(9_000));
    let [gone] = &state.outbound.alerts[..] else { panic!("{:?}", state.outbound.alerts) };
    assert_eq!((gone.rule.as_str(), gone.state, gone.version), ("loiter", AlertState::Cleared, 2));
}
