//! Tests with networks that succeed, are slow, fail, panic and hang. In each case, every frame is accounted for and the
//! threads end.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use lookout_infer::{
    BatchPolicy, DeviceEvent, InferSettings, InferThreads, Inlets, ReloadError, ReloadModel, start,
};
use lookout_schema::{Classification, DropCause, LedgerCounts, SessionId, Size};
use lookout_stage::{
    BatchResult, CameraIntake, CameraLedger, CameraQueue, Detect, DetectError, DetectFrame, Frame,
    InferenceResult, Pixels, Stop, StopOnDrop, WhenFull, camera_queue, stop_signal,
};

const SIZE: Size = Size { width: 1, height: 1 };
const LONG: Duration = Duration::from_secs(20);

#[derive(Debug, Clone)]
enum Mood {
    Well,
    Refusing,
    Panicking,
    TooFewResults,
    /// Hangs until a message arrives or the sender is dropped.
    Stuck(Receiver<()>),
}

/// A fake network whose result for each frame is the frame's first byte. The script gives its behavior for each batch.
#[derive(Debug)]
struct Moody {
    script: Receiver<Mood>,
    seen: Sender<usize>,
}

impl Detect for Moody {
    fn detect(&mut self, frames: &[DetectFrame<'_>]) -> Result<BatchResult, DetectError> {
        self.seen.send(frames.len()).unwrap();
        let mut findings: Vec<_> = frames
            .iter()
            .map(|frame| InferenceResult {
                detections: Vec::new(),
                classes: vec![Classification {
                    class_id: u32::from(frame.pixels.rgb()[0]),
                    label: "byte".into(),
                    score: 1.0,
                }],
            })
            .collect();
        match self.script.try_recv().unwrap_or(Mood::Well) {
            Mood::Well => {}
            Mood::Refusing => return Err(DetectError { batch: frames.len(), reason: "no memory".into() }),
            Mood::Panicking => panic!("a fake panic"),
            Mood::TooFewResults => findings.clear(),
            Mood::Stuck(until) => drop(until.recv()),
        }
        Ok(BatchResult {
            findings,
            infer: Duration::from_millis(2),
            post: Duration::from_millis(1),
            passes: 1,
        })
    }
}

struct Bench {
    script: Sender<Mood>,
    seen: Receiver<usize>,
    events: Receiver<DeviceEvent>,
    cameras: Option<Sender<CameraQueue>>,
    intake: Option<CameraIntake>,
    ledger: Arc<CameraLedger>,
    session: SessionId,
    next: u64,
    threads: InferThreads,
    abandon: Option<StopOnDrop>,
    stop: Stop,
}

impl Bench {
    /// Creates one file camera and a device that takes up to 4 frames at a time. Reloading the network fails for the
    /// first `refusals` attempts.
    fn new(prefetch: bool, refusals: usize) -> Self {
        Self::with_streams(1, prefetch, refusals)
    }

    fn with_streams(streams: usize, prefetch: bool, refusals: usize) -> Self {
        Self::with_first_pass(streams, prefetch, refusals, None)
    }

    fn with_first_pass(
        streams: usize,
        prefetch: bool,
        refusals: usize,
        first_pass: Option<Duration>,
    ) -> Self {
        let refusals = AtomicUsize::new(refusals);
        let (script, moods) = unbounded();
        let (seen_tx, seen) = unbounded();
        let (events_tx, events) = unbounded();
        let (cameras, inlet) = bounded(1);
        let wake = bounded(1);
        let (abandon, stop) = stop_signal();
        let (intake, queue) = camera_queue(NonZeroUsize::new(16).unwrap(), WhenFull::Block, wake.0.clone());
        cameras.send(queue).unwrap();
        let moody = move || Moody { script: moods.clone(), seen: seen_tx.clone() };
        let threads = start(
            InferSettings {
                policy: BatchPolicy {
                    max_size: NonZeroUsize::new(4).unwrap(),
                    max_wait: Duration::from_millis(5),
                    max_age: LONG,
                },
                prefetch,
                first_pass,
            },
            (0..streams).map(|_| Box::new(moody()) as Box<dyn Detect>).collect(),
            &(Arc::new(move || {
                if refusals.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
                    return Err(ReloadError::Failed("the weights are missing".into()));
                }
                Ok(Box::new(moody()) as Box<dyn Detect>)
            }) as ReloadModel),
            Inlets { cameras: inlet, wake, abandon: stop.clone() },
            move |event| drop(events_tx.send(event)),
        )
        .unwrap();
        Self {
            script,
            seen,
            events,
            cameras: Some(cameras),
            intake: Some(intake),
            ledger: CameraLedger::new("clip".parse().unwrap()),
            session: SessionId::generate(),
            next: 0,
            threads,
            abandon: Some(abandon),
            stop,
        }
    }

    fn push(&mut self, frames: u64) {
        self.push_as(false, frames);
    }

    fn push_as(&mut self, live: bool, frames: u64) {
        for _ in 0..frames {
            let ticket = self.ledger.receive(self.session, self.next);
            let pixels = Pixels::new(SIZE, vec![self.next as u8; 3]).unwrap();
            self.next += 1;
            let frame = Frame::synthetic(ticket, pixels, live, Instant::now());
            self.intake.as_ref().unwrap().push(frame, &self.stop);
        }
    }

    fn event(&self) -> DeviceEvent {
        self.events.recv_timeout(LONG).unwrap()
    }

    /// Receives results until there are `frames`, and checks that each belongs to its frame.
    fn take_results(&self, frames: usize) {
        let mut left = frames;
        while left > 0 {
            let DeviceEvent::Inferred(batch) = self.event() else { continue };
            for result in batch.results {
                assert_eq!(u64::from(result.findings.classes[0].class_id), result.header.seq);
                assert_eq!(result.infer, Duration::from_millis(2));
                left -= 1;
                let mut ticket = result.ticket;
                ticket.published(1);
                ticket.sent();
                ticket.delivered();
            }
        }
    }

    fn dropped(&self, cause: DropCause) -> u64 {
        self.ledger.counts().dropped.get(&cause).copied().unwrap_or(0)
    }

    /// Ends the camera, waits until the threads have ended, and returns the final counters.
    fn finish(mut self) -> LedgerCounts {
        self.intake = None;
        self.cameras = None;
        let deadline = Instant::now() + LONG;
        while !self.threads.is_finished() {
            assert!(Instant::now() < deadline, "the threads did not end");
            // The device thread holds the sender of this channel until it ends.
            let _ = self.events.recv_timeout(Duration::from_millis(10));
        }
        // Drops the last results.
        self.events.try_iter().for_each(drop);
        let counts = self.ledger.counts();
        counts.check().unwrap();
        assert_eq!(counts.processing, 0);
        counts
    }
}

#[test]
fn results_are_rejoined_with_their_headers() {
    for prefetch in [false, true] {
        let mut bench = Bench::new(prefetch, 0);
        bench.push(10);
        bench.take_results(10);
        assert_eq!(bench.finish().delivered, 10);
    }
}

#[test]
fn frames_accumulate_into_a_larger_batch_while_the_device_is_busy() {
    let mut bench = Bench::new(false, 0);
    let (free, stuck) = bounded::<()>(0);
    bench.script.send(Mood::Stuck(stuck)).unwrap();
    bench.push(1);
    assert_eq!(bench.seen.recv_timeout(LONG), Ok(1));
    bench.push(4);
    drop(free);
    assert_eq!(bench.seen.recv_timeout(LONG), Ok(4));
    bench.take_results(5);
    assert_eq!(bench.finish().delivered, 5);
}

#[test]
fn a_failed_batch_drops_only_its_own_frames() {
    let mut bench = Bench::new(false, 0);
    bench.script.send(Mood::Refusing).unwrap();
    bench.push(1);
    let event = bench.event();
    assert!(matches!(&event, DeviceEvent::BatchFailed { frames: 1, reason } if reason.contains("no memory")));
    bench.push(3);
    bench.take_results(3);
    assert_eq!(bench.dropped(DropCause::Infer), 1);
    bench.finish();
}

#[test]
fn too_few_results_are_a_failed_batch() {
    let mut bench = Bench::new(false, 0);
    bench.script.send(Mood::TooFewResults).unwrap();
    bench.push(1);
    assert!(matches!(bench.event(), DeviceEvent::BatchFailed { .. }));
    assert_eq!(bench.finish().dropped[&DropCause::Infer], 1);
}

#[test]
fn the_network_is_reloaded_after_three_failed_batches() {
    let mut bench = Bench::new(false, 0);
    for _ in 0..3 {
        bench.script.send(Mood::Refusing).unwrap();
        bench.push(1);
        assert!(matches!(bench.event(), DeviceEvent::BatchFailed { .. }));
    }
    assert!(matches!(bench.event(), DeviceEvent::Restarted { .. }));
    bench.push(2);
    bench.take_results(2);
    assert_eq!(bench.finish().dropped[&DropCause::Infer], 3);
}

#[test]
fn the_network_is_reloaded_after_a_panic() {
    // The first attempt to reload the network fails too.
    let mut bench = Bench::new(false, 1);
    bench.script.send(Mood::Panicking).unwrap();
    bench.push(1);
    let event = bench.event();
    assert!(
        matches!(&event, DeviceEvent::Restarted { reason } if reason.contains("a fake panic")),
        "{event:?}"
    );
    bench.push(3);
    bench.take_results(3);
    assert_eq!(bench.dropped(DropCause::StageFailed), 1);
    bench.finish();
}

#[test]
fn a_stuck_network_does_not_delay_dropping_the_other_frames() {
    let mut bench = Bench::new(true, 0);
    let (free, stuck) = bounded::<()>(0);
    bench.script.send(Mood::Stuck(stuck)).unwrap();
    bench.push(1);
    assert_eq!(bench.seen.recv_timeout(LONG), Ok(1));
    bench.push(6);
    bench.abandon = None;
    // All frames but the stuck one are dropped while it is still stuck.
    let deadline = Instant::now() + LONG;
    while bench.ledger.counts().processing > 5 {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    drop(free);
    let counts = bench.finish();
    assert!(counts.dropped[&DropCause::Shutdown] >= 2, "{counts:?}");
}

#[test]
fn a_slow_device_processes_live_batches_sequentially_and_file_batches_in_parallel() {
    for live in [true, false] {
        // Longer than the `max_age` of live frames.
        let mut bench = Bench::with_first_pass(2, false, 0, Some(3 * LONG));
        let (free, stuck) = bounded::<()>(0);
        bench.script.send(Mood::Stuck(stuck)).unwrap();
        bench.push_as(live, 1);
        assert_eq!(bench.seen.recv_timeout(LONG), Ok(1));
        bench.push_as(live, 1);
        let beside = bench.seen.recv_timeout(Duration::from_millis(300));
        assert_eq!(beside.is_err(), live, "{beside:?}");
        drop(free);
        if live {
            assert_eq!(bench.seen.recv_timeout(LONG), Ok(1));
        }
        bench.take_results(2);
        assert_eq!(bench.finish().delivered, 2);
    }
}

#[test]
fn streams_run_in_parallel_and_forward_results_in_order() {
    let mut bench = Bench::with_streams(2, false, 0);
    let (free, stuck) = bounded::<()>(0);
    bench.script.send(Mood::Stuck(stuck)).unwrap();
    bench.push(1);
    assert_eq!(bench.seen.recv_timeout(LONG), Ok(1));
    // The other stream processes these while the first one is still busy with the previous frame.
    bench.push(1);
    assert_eq!(bench.seen.recv_timeout(LONG), Ok(1));
    assert!(bench.events.recv_timeout(Duration::from_millis(200)).is_err());
    drop(free);
    for seq in [0, 1] {
        let DeviceEvent::Inferred(batch) = bench.event() else { panic!("no result") };
        assert_eq!(batch.results[0].header.seq, seq);
    }
    bench.finish();
}
