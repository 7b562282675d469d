//! Tests that each camera gets its share of an overloaded device, with real queues and simulated time.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};

use lookout_infer::{BatchPolicy, Batcher, DeviceState, Polled};
use lookout_schema::{DropCause, SessionId, Size};
use lookout_stage::{CameraIntake, CameraLedger, Frame, Pixels, WhenFull, camera_queue, stop_signal};
use proptest::prelude::*;

const SIZE: Size = Size { width: 1, height: 1 };

/// A live camera that sends a frame at `phase` and then every `interval`, in milliseconds. Each frame arrives `decode`
/// milliseconds before it is ready.
#[derive(Debug, Clone, Copy)]
struct Live {
    phase: u64,
    interval: u64,
    decode: u64,
}

#[derive(Debug, Clone)]
struct Setup {
    cameras: Vec<Live>,
    /// The device's time per frame in milliseconds; each stream runs one batch at a time.
    per_frame: u64,
    streams: usize,
    max_batch: usize,
    queue: usize,
}

/// The number of records of each camera, and the age of the oldest frame when its batch was formed.
struct Outcome {
    published: Vec<u64>,
    oldest: u64,
}

const MAX_AGE: u64 = 500;

/// Simulates `ms` milliseconds. Each stream is a queue of one batch, and is polled like the batch thread polls.
fn play(setup: &Setup, ms: u64) -> Outcome {
    let policy = BatchPolicy {
        max_size: NonZeroUsize::new(setup.max_batch).unwrap(),
        max_wait: Duration::from_millis(5),
        max_age: Duration::from_millis(MAX_AGE),
    };
    let mut batcher = Batcher::new(policy);
    batcher.set_time_per_frame(Duration::from_millis(setup.per_frame));
    let (wake, _woken) = crossbeam_channel::bounded(1);
    let (_running, stop) = stop_signal();
    let cameras: Vec<(CameraIntake, Arc<CameraLedger>)> = (0..setup.cameras.len())
        .map(|i| {
            let room = NonZeroUsize::new(setup.queue).unwrap();
            let (intake, queue) = camera_queue(room, WhenFull::DropOldest, wake.clone());
            batcher.add(queue);
            (intake, CameraLedger::new(format!("cam-{i}").parse().unwrap()))
        })
        .collect();
    let session = SessionId::generate();
    let start = Instant::now() + Duration::from_secs(60);
    let at = |ms: u64| start + Duration::from_millis(ms);
    let mut ends: Vec<u64> = Vec::new();
    let mut outcome = Outcome { published: vec![0; cameras.len()], oldest: 0 };
    for now in 0..ms {
        ends.retain(|end| *end > now);
        for (live, (intake, ledger)) in setup.cameras.iter().zip(&cameras) {
            if now < live.phase || !(now - live.phase).is_multiple_of(live.interval) {
                continue;
            }
            let seq = (now - live.phase) / live.interval;
            let ticket = ledger.receive(session, seq);
            let mut frame = Frame::synthetic(ticket, Pixels::black(SIZE), true, at(now));
            frame.header.arrived_at -= Duration::from_millis(live.decode);
            intake.push(frame, &stop);
        }
        while ends.len() < setup.streams {
            let device = if ends.is_empty() { DeviceState::Idle } else { DeviceState::Busy };
            let Polled::Batch(batch) = batcher.poll(at(now), device) else { break };
            ends.push(now + setup.per_frame * batch.frames.len() as u64);
            for frame in batch.frames {
                let i: usize = frame.header.camera.as_str()[4..].parse().unwrap();
                outcome.published[i] += 1;
                let age = at(now).duration_since(frame.header.arrived_at).as_millis() as u64;
                outcome.oldest = outcome.oldest.max(age);
                // `DropCause::Infer` marks a record here, because no other code in this test drops a frame with it.
                frame.ticket.dropped(DropCause::Infer);
            }
        }
    }
    batcher.abandon(DropCause::Shutdown);
    for (_, ledger) in &cameras {
        let counts = ledger.counts();
        counts.check().unwrap();
        let known = [DropCause::Infer, DropCause::Stale, DropCause::QueueFull, DropCause::Shutdown];
        let dropped: BTreeMap<_, _> =
            counts.dropped.iter().filter(|(cause, _)| !known.contains(cause)).collect();
        assert!(dropped.is_empty(), "{dropped:?}");
    }
    outcome
}

fn ratio(published: &[u64]) -> f64 {
    let (least, most) = (published.iter().min().unwrap(), published.iter().max().unwrap());
    *most as f64 / (*least as f64).max(0.5)
}

fn alike(phases: &[u64], interval: u64) -> Vec<Live> {
    phases.iter().map(|phase| Live { phase: *phase, interval, decode: 5 }).collect()
}

#[test]
fn a_camera_with_unfavorable_frame_times_gets_its_share() {
    // The device becomes idle whenever the second camera's frame is 0.6 s old and the first one's is 0.1 s old.
    let setup =
        Setup { cameras: alike(&[900, 400], 1000), per_frame: 1000, streams: 1, max_batch: 8, queue: 4 };
    let outcome = play(&setup, 200_000);
    assert!(ratio(&outcome.published) <= 1.1, "{:?}", outcome.published);
    assert!(outcome.oldest <= 1_100, "{} ms", outcome.oldest);
}

#[test]
fn a_camera_with_a_higher_frame_rate_gets_no_more_than_its_share() {
    let slow = alike(&[0, 300, 700], 1000);
    let cameras = slow.into_iter().chain([Live { phase: 100, interval: 250, decode: 5 }]).collect();
    let setup = Setup { cameras, per_frame: 1300, streams: 2, max_batch: 8, queue: 4 };
    let outcome = play(&setup, 300_000);
    assert!(ratio(&outcome.published) <= 1.2, "{:?}", outcome.published);
}

#[test]
fn a_camera_with_slow_decoding_gets_its_share_of_a_slow_device() {
    let mut cameras = alike(&[0, 250, 500, 750], 1000);
    cameras[2].decode = 700;
    let setup = Setup { cameras, per_frame: 1300, streams: 1, max_batch: 8, queue: 4 };
    let outcome = play(&setup, 300_000);
    assert!(ratio(&outcome.published) <= 1.5, "{:?}", outcome.published);
}

#[test]
fn a_camera_whose_frames_arrive_just_after_the_others_gets_its_share() {
    let setup =
        Setup { cameras: alike(&[4, 4, 5, 0], 200), per_frame: 200, streams: 2, max_batch: 7, queue: 1 };
    let outcome = play(&setup, 60_000);
    assert!(ratio(&outcome.published) <= 1.5, "{:?}", outcome.published);
}

#[test]
fn a_fast_device_publishes_every_frame() {
    let setup =
        Setup { cameras: alike(&[0, 1, 2, 3], 200), per_frame: 40, streams: 1, max_batch: 8, queue: 4 };
    let outcome = play(&setup, 100_000);
    let sent = 100_000 / 200;
    assert!(outcome.published.iter().all(|published| *published >= sent - 1), "{:?}", outcome.published);
    assert!(outcome.oldest <= MAX_AGE);
}

fn setups() -> impl Strategy<Value = Setup> {
    let interval = prop_oneof![Just(1000u64), Just(500), Just(200), 100u64..2000];
    (interval, 2usize..9, 1usize..3, 1usize..9, 1usize..6).prop_flat_map(
        |(interval, cameras, streams, max_batch, queue)| {
            let phases = prop::collection::vec(0..interval, cameras);
            // From three quarters of the device down to a small part of it can be processed.
            let least = (interval * streams as u64 * 4).div_ceil(cameras as u64 * 3).max(1);
            let per_frame = prop_oneof![
                Just(least),
                Just(interval.max(least)),
                Just((interval / 2).max(least)),
                least..least.max(4_000) + 1,
            ];
            (phases, per_frame).prop_map(move |(phases, per_frame)| Setup {
                cameras: alike(&phases, interval),
                per_frame,
                streams,
                max_batch,
                queue,
            })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn overload_is_shared_evenly_for_any_phases_of_the_cameras(setup in setups()) {
        // Each camera's share is about 40 records.
        let ms = 40 * setup.per_frame * setup.cameras.len() as u64 / setup.streams as u64;
        let outcome = play(&setup, ms.max(30 * 2_000));
        prop_assert!(ratio(&outcome.published) <= 1.5, "{:?}", outcome.published);
        let (interval, round) = (setup.cameras[0].interval, setup.per_frame * setup.cameras.len() as u64);
        prop_assert!(outcome.oldest <= MAX_AGE.max(interval.min(round)) + 5, "{} ms", outcome.oldest);
    }
}
