//! Each kind of rule raises and clears its alerts.

use lookout_schema::{
    AlertEvidence, CameraSpec, CameraStatus, RecordKind, Region, RegistryRecord, SessionId, StatusRecord,
    Timestamp, WorkerState,
};
use lookout_wire::ReadRecord;

use super::{RULES, at, frame, placed, run, settings, short, status, worker};
use crate::state::State;

#[test]
fn count_rule_raises_and_clears() {
    let mut state = State::new(&settings(RULES));
    let two = |seqs: std::ops::Range<u64>| seqs.map(|seq| frame(seq, 60, &[0.2, 0.8]));
    assert_eq!(run(&mut state, two(0..10)), []);
    let raised = run(&mut state, two(10..25));
    assert_eq!(short(&raised), ["crowd raised"]);
    assert_eq!(raised[0].id, "monitor/crowd/gate/01JDFY9M4K8Z6Q2W3X5V7T9R1P/2");
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
    let registry_record = |record| ReadRecord::Camera { key: "gate".into(), record };
    take_status(&mut state, 0, status(0, CameraStatus::Stopped), at(10));
    state.apply(placed(RecordKind::Camera, 0, registry_record(put(&spec))), at(20));
    state.tick(at(60_000), true);
    assert_eq!(state.outbound.alerts, []);
    spec.enabled = true;
    spec.zones.insert("yard".into(), Region::new(vec![[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]).unwrap());
    state.apply(placed(RecordKind::Camera, 1, registry_record(put(&spec))), at(60_010));
    assert!(state.cameras.values().all(|camera| camera.places.zones.contains_key("yard")));
    state.tick(at(60_250), true);
    assert_eq!(short(&std::mem::take(&mut state.outbound.alerts)), ["down raised"]);
    state.apply(placed(RecordKind::Camera, 2, registry_record(RegistryRecord::Removed)), at(61_000));
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
