//! Tests of the batcher with real camera queues and simulated time.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};

use lookout_infer::{BatchPolicy, Batcher, DeviceState, Polled};
use lookout_schema::{DropCause, SessionId, Size};
use lookout_stage::{
    BatchClosed, CameraIntake, CameraLedger, Frame, FrameBatch, Pixels, Stop, StopOnDrop, WhenFull,
    camera_queue, stop_signal,
};
use proptest::prelude::*;

const SIZE: Size = Size { width: 1, height: 1 };

struct Camera {
    intake: Option<CameraIntake>,
    ledger: Arc<CameraLedger>,
    session: SessionId,
    live: bool,
    next: u64,
}

impl Camera {
    fn push(&mut self, at: Instant, stop: &Stop) {
        let ticket = self.ledger.receive(self.session, self.next);
        self.next += 1;
        let frame = Frame::synthetic(ticket, Pixels::black(SIZE), self.live, at);
        self.intake.as_ref().unwrap().push(frame, stop);
    }

    fn dropped(&self, cause: DropCause) -> u64 {
        self.ledger.counts().dropped.get(&cause).copied().unwrap_or(0)
    }
}

struct Bench {
    batcher: Batcher,
    cameras: Vec<Camera>,
    start: Instant,
    stop: Stop,
    _running: StopOnDrop,
}

impl Bench {
    /// Creates a batcher with `max_size` 4, `max_wait` 5 ms, `max_age` 100 ms, and a camera for each of `live`.
    fn new(live: &[bool], queue: usize) -> Self {
        let policy = BatchPolicy {
            max_size: NonZeroUsize::new(4).unwrap(),
            max_wait: Duration::from_millis(5),
            max_age: Duration::from_millis(100),
        };
        let mut batcher = Batcher::new(policy);
        let (wake, _) = crossbeam_channel::bounded(1);
        let cameras = live
            .iter()
            .enumerate()
            .map(|(i, live)| {
                let when_full = if *live { WhenFull::DropOldest } else { WhenFull::Block };
                let (intake, queue) =
                    camera_queue(NonZeroUsize::new(queue).unwrap(), when_full, wake.clone());
                batcher.add(queue);
                Camera {
                    intake: Some(intake),
                    ledger: CameraLedger::new(format!("cam-{i}").parse().unwrap()),
                    session: SessionId::generate(),
                    live: *live,
                    next: 0,
                }
            })
            .collect();
        let (_running, stop) = stop_signal();
        Self { batcher, cameras, start: Instant::now(), stop, _running }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn push(&mut self, camera: usize, ms: u64) {
        let at = self.at(ms);
        self.cameras[camera].push(at, &self.stop);
    }

    fn poll(&mut self, ms: u64, device: DeviceState) -> Option<FrameBatch> {
        let now = self.at(ms);
        match self.batcher.poll(now, device) {
            Polled::Batch(batch) => Some(batch),
            Polled::Wait { .. } => None,
        }
    }
}

/// Formats the batch as a list of `camera:seq`.
fn names(batch: &FrameBatch) -> Vec<String> {
    batch.frames.iter().map(|f| format!("{}:{}", f.header.camera, f.header.seq)).collect()
}

#[test]
fn an_idle_device_takes_a_partial_batch() {
    let mut bench = Bench::new(&[true, true], 4);
    assert!(bench.poll(0, DeviceState::Idle).is_none());
    bench.push(1, 0);
    assert!(bench.poll(0, DeviceState::Saturated).is_none());
    let batch = bench.poll(0, DeviceState::Idle).unwrap();
    assert_eq!((names(&batch), batch.closed_by), (vec!["cam-1:0".into()], BatchClosed::Idle));
}

#[test]
fn a_busy_device_waits_for_a_full_batch_until_a_deadline() {
    let mut bench = Bench::new(&[true; 4], 4);
    bench.push(0, 10);
    let until = bench.at(15);
    assert!(matches!(
        bench.batcher.poll(bench.start + Duration::from_millis(12), DeviceState::Busy),
        Polled::Wait { until: Some(t) } if t == until
    ));
    assert_eq!(bench.poll(15, DeviceState::Busy).unwrap().closed_by, BatchClosed::Deadline);
    (0..4).for_each(|camera| bench.push(camera, 20));
    assert_eq!(bench.poll(20, DeviceState::Busy).unwrap().closed_by, BatchClosed::Full);
}

#[test]
fn no_camera_takes_a_second_slot_while_another_camera_waits() {
    let mut bench = Bench::new(&[false, false, false], 8);
    (0..6).for_each(|ms| bench.push(0, ms));
    bench.push(2, 8);
    bench.push(1, 9);
    assert_eq!(
        names(&bench.poll(10, DeviceState::Idle).unwrap()),
        ["cam-0:0", "cam-2:0", "cam-1:0", "cam-0:1"]
    );
    assert_eq!(
        names(&bench.poll(10, DeviceState::Idle).unwrap()),
        ["cam-0:2", "cam-0:3", "cam-0:4", "cam-0:5"]
    );
}

#[test]
fn stale_live_frames_are_dropped_and_file_frames_are_not() {
    let mut bench = Bench::new(&[true, false], 4);
    bench.push(0, 0);
    bench.push(1, 0);
    bench.push(0, 80);
    assert_eq!(names(&bench.poll(101, DeviceState::Idle).unwrap()), ["cam-1:0", "cam-0:1"]);
    assert_eq!(bench.cameras[0].dropped(DropCause::Stale), 1);
}

#[test]
fn a_frame_that_becomes_stale_while_the_batch_fills_is_dropped() {
    let mut bench = Bench::new(&[true], 4);
    bench.push(0, 0);
    assert!(bench.poll(1, DeviceState::Busy).is_none());
    assert!(bench.poll(101, DeviceState::Busy).is_none());
    assert_eq!(bench.cameras[0].dropped(DropCause::Stale), 1);
}

#[test]
fn the_oldest_frame_is_dropped_when_the_queue_is_full() {
    let mut bench = Bench::new(&[true, true, true, true, true], 2);
    (0..5).for_each(|camera| bench.push(camera, camera as u64));
    // The fifth camera's frame does not fit in the batch and waits at the head of its slot.
    assert_eq!(bench.poll(5, DeviceState::Idle).unwrap().frames.len(), 4);
    (6..9).for_each(|ms| bench.push(4, ms));
    assert_eq!(names(&bench.poll(9, DeviceState::Idle).unwrap()), ["cam-4:2", "cam-4:3"]);
    assert_eq!(bench.cameras[4].dropped(DropCause::QueueFull), 2);
}

#[test]
fn the_batch_size_is_limited_by_the_age_of_live_frames_only() {
    let full = |live: &[bool], per_frame: u64| {
        let mut bench = Bench::new(live, 4);
        bench.batcher.set_time_per_frame(Duration::from_millis(per_frame));
        (0..live.len()).for_each(|camera| bench.push(camera, 0));
        let batch = bench.poll(1, DeviceState::Busy).unwrap();
        (batch.frames.len(), batch.closed_by)
    };
    // `max_age` is 100 ms.
    for (per_frame, frames) in
        [(0, 4), (1, 4), (30, 4), (34, 3), (50, 2), (60, 2), (99, 2), (100, 1), (5000, 1)]
    {
        assert_eq!(full(&[true; 5], per_frame), (frames, BatchClosed::Full), "{per_frame} ms per frame");
    }
    assert_eq!(full(&[false; 5], 5000).0, 4);
    assert_eq!(full(&[false, false, true, false], 60).0, 2, "one of the frames is live");
}

#[test]
fn remaining_frames_are_drained_after_the_cameras_have_ended() {
    let mut bench = Bench::new(&[false, true], 4);
    bench.push(0, 0);
    bench.cameras.iter_mut().for_each(|camera| camera.intake = None);
    assert!(!bench.batcher.is_over());
    assert_eq!(bench.poll(5, DeviceState::Busy).unwrap().closed_by, BatchClosed::Drain);
    assert!(bench.batcher.is_over());
}

#[test]
fn abandoned_frames_are_counted_as_dropped() {
    let mut bench = Bench::new(&[false, true], 4);
    (0..3).for_each(|ms| bench.push(0, ms));
    bench.push(1, 0);
    assert!(bench.poll(1, DeviceState::Busy).is_some());
    bench.push(0, 2);
    bench.push(1, 2);
    assert!(bench.poll(3, DeviceState::Busy).is_none(), "two frames wait, too few for a batch");
    bench.batcher.abandon(DropCause::Shutdown);
    assert!(bench.batcher.is_over());
    assert_eq!(bench.cameras[0].dropped(DropCause::Shutdown), 1);
    assert_eq!(bench.cameras[1].dropped(DropCause::Shutdown), 1);
}

#[derive(Debug, Clone)]
enum Step {
    Push(usize),
    Poll(DeviceState),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let device = prop_oneof![Just(DeviceState::Saturated), Just(DeviceState::Busy), Just(DeviceState::Idle)];
    let step = prop_oneof![
        6 => (0usize..4).prop_map(Step::Push),
        2 => device.prop_map(Step::Poll),
        1 => (0u64..60).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    #[test]
    fn batches_are_fair_ordered_fresh_and_counted_for_any_traffic(steps in steps()) {
        let live = [true, true, true, false];
        let mut bench = Bench::new(&live, 3);
        let mut now = 0;
        let mut last_seq: BTreeMap<String, u64> = BTreeMap::new();
        let mut in_file = 0;
        let mut seen = 0;
        for step in steps.into_iter().chain([const { Step::Poll(DeviceState::Idle) }; 8]) {
            match step {
                // A file's push would wait for space.
                Step::Push(3) if in_file >= 3 => {}
                Step::Push(camera) => {
                    in_file += u64::from(camera == 3);
                    bench.push(camera, now);
                }
                Step::Wait(ms) => now += ms,
                Step::Poll(device) => {
                    let Some(batch) = bench.poll(now, device) else { continue };
                    prop_assert!(device != DeviceState::Saturated && !batch.frames.is_empty() && batch.frames.len() <= 4);
                    let mut places: BTreeMap<String, usize> = BTreeMap::new();
                    for frame in batch.frames {
                        let header = &frame.header;
                        let camera = header.camera.to_string();
                        let age = bench.at(now).duration_since(header.arrived_at);
                        prop_assert!(!header.live || age <= Duration::from_millis(100));
                        let last = last_seq.insert(camera.clone(), header.seq);
                        prop_assert!(last.is_none_or(|last| last < header.seq));
                        in_file -= u64::from(!header.live);
                        *places.entry(camera).or_default() += 1;
                        seen += 1;
                        frame.ticket.dropped(DropCause::Infer);
                    }
                    let most = places.values().max().copied().unwrap_or(0);
                    for (i, camera) in bench.cameras.iter().enumerate() {
                        // A camera with a frame left could have had the last slot of the camera with the most frames.
                        let has = places.get(camera.ledger.camera().as_str()).copied().unwrap_or(0);
                        let waiting = camera.ledger.counts().processing;
                        prop_assert!(waiting == 0 || has + 1 >= most, "camera {i}: {has} of {most}");
                    }
                }
            }
        }
        bench.batcher.abandon(DropCause::Shutdown);
        let mut inferred = 0;
        for camera in &bench.cameras {
            let counts = camera.ledger.counts();
            prop_assert_eq!(counts.check(), Ok(()));
            prop_assert_eq!(counts.processing, 0);
            prop_assert!(camera.live || camera.dropped(DropCause::Stale) + camera.dropped(DropCause::QueueFull) == 0);
            inferred += camera.dropped(DropCause::Infer);
        }
        prop_assert_eq!(inferred, seen);
    }
}
