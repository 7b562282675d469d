//! The state is restored from a store, and topics are recreated.

use std::collections::BTreeMap;

use lookout_schema::{AlertState, Epoch, FrameRecord, RecordKind, SessionId, WorkerState};
use lookout_wire::{ReadRecord, RecordWithOffset};
use proptest::prelude::*;

use super::{RULES, at, frame, framed, placed, run, settings, worker};
use crate::state::{Checkpoint, RestoredState, State};

/// A store in memory.
#[derive(Default)]
struct FakeStore {
    kept: RestoredState,
    alerts: BTreeMap<(String, u32), usize>,
    minutes: BTreeMap<i64, u64>,
}

impl FakeStore {
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
            let (mut state, mut store) = (State::new(&settings(RULES)), FakeStore::default());
            for seq in 0..900 {
                let now = walk(seq).published_at;
                state.apply(framed(walk(seq)), now);
            }
            store.commit(state.checkpoint(true));
            store
        };
        let mut store = FakeStore::default();
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
    let mut store = FakeStore::default();
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
fn clears_alerts_of_a_removed_rule() {
    let mut store = FakeStore::default();
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
