//! A device thread: the only one that touches its network.

use std::{
    any::Any,
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use lookout_schema::{DropCause, Size};
use lookout_stage::{
    Detect, DetectFrame, Detected, Findings, Frame, FrameBatch, FrameResult, Keep, Pixels, Placement, Stop,
};

use crate::{DeviceEvent, InferredBatch, Rebuild, feeder::NumberedBatch, pace::Pace, turns::Turns};

pub(crate) struct Device {
    pub(crate) detector: Box<dyn Detect>,
    pub(crate) rebuild: Rebuild,
    pub(crate) batches: Receiver<NumberedBatch>,
    /// Batches that were handed over and are not done with.
    pub(crate) outstanding: Arc<AtomicUsize>,
    pub(crate) pace: Arc<Pace>,
    pub(crate) turns: Arc<Turns>,
    /// Streams of this device that are at work.
    pub(crate) at_work: Arc<AtomicU32>,
    /// Frames in a batch at most.
    pub(crate) max_batch: usize,
    pub(crate) prepared: Prepared,
    pub(crate) wake: Sender<()>,
    pub(crate) abandon: Stop,
}

/// Failed batches in a row after which the network is made anew: some errors of a GPU stay until then.
const FAILURES_TO_REBUILD: u32 = 3;
/// Wait before a network that could not be made is tried again; doubled each time up to the second.
const REBUILD_WAIT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// A device that has had nothing to do for so long is idle, and has time to prepare a batch size.
const IDLE: Duration = Duration::from_millis(200);
/// A batch that takes longer is prepared when it is first needed: frames that come meanwhile would wait for it.
const IDLE_BATCH: Duration = Duration::from_millis(50);

/// The batch sizes that a stream has run. libtorch takes longer for the first batch of a size: it chooses
/// algorithms, compiles kernels and asks for memory.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    sizes: BTreeSet<usize>,
    /// The last frame, of which batches to prepare with are made.
    sample: Option<Sample>,
}

#[derive(Debug)]
struct Sample {
    pixels: Pixels,
    source: Size,
    placement: Placement,
}

impl Prepared {
    /// Notes that `batch` is run; whether it is the first of its size.
    fn is_first(&mut self, batch: &FrameBatch) -> bool {
        let Some(frame) = batch.frames.last() else { return false };
        let size = frame.pixels.size();
        if self.sample.as_ref().is_none_or(|sample| sample.pixels.size() != size) {
            self.sizes.clear();
            let (source, placement) = (frame.header.source, frame.header.placement);
            self.sample = Some(Sample { pixels: Pixels::black(size), source, placement });
        }
        self.sizes.insert(batch.frames.len())
    }

    /// Returns the largest batch size up to `max_batch` that has not run and, at `per_frame`, takes little time.
    /// The largest comes first, since it decides how much memory is kept.
    fn next(&self, max_batch: usize, per_frame: Option<Duration>) -> Option<usize> {
        let (_, per_frame) = self.sample.as_ref().zip(per_frame)?;
        let short =
            |size: &usize| u32::try_from(*size).is_ok_and(|n| per_frame.saturating_mul(n) <= IDLE_BATCH);
        (2..=max_batch).rev().filter(short).find(|size| !self.sizes.contains(size))
    }
}

enum Failure {
    Refused(String),
    Panicked(String),
}

impl Device {
    pub(crate) fn run(mut self, emit: impl Fn(DeviceEvent)) {
        let mut failures = 0;
        while let Some(NumberedBatch { number, batch }) = self.next_batch() {
            let is_first = self.prepared.is_first(&batch);
            let started = Instant::now();
            let beside = self.at_work.fetch_add(1, SeqCst) + 1;
            let looked = self.look(&batch);
            let beside = beside.max(self.at_work.fetch_sub(1, SeqCst));
            let reason = match looked {
                Ok(detected) => {
                    failures = 0;
                    let took = started.elapsed();
                    self.learn(&batch, is_first, took);
                    let busy = took / beside.max(1);
                    self.hand_on(
                        number,
                        &emit,
                        DeviceEvent::Inferred(rejoin(batch, detected, started, busy)),
                    );
                    None
                }
                Err(Failure::Refused(reason)) => {
                    failures += 1;
                    let frames = batch.frames.len();
                    drop_all(batch, DropCause::Infer);
                    self.hand_on(number, &emit, DeviceEvent::BatchFailed { frames, reason: reason.clone() });
                    (failures >= FAILURES_TO_REBUILD).then_some(reason)
                }
                Err(Failure::Panicked(reason)) => {
                    drop_all(batch, DropCause::StageFailed);
                    Some(reason)
                }
            };
            if let Some(reason) = reason {
                failures = 0;
                self.hand_on(number, &emit, DeviceEvent::Restarted { reason });
                if !self.make_anew() {
                    return;
                }
            }
            self.outstanding.fetch_sub(1, SeqCst);
            // A full wake channel means that the batch thread has been told already.
            let _ = self.wake.try_send(());
        }
    }

    fn hand_on(&self, number: u64, emit: &impl Fn(DeviceEvent), event: DeviceEvent) {
        self.turns.take(number, &self.abandon, || emit(event));
    }

    fn learn(&self, batch: &FrameBatch, is_first: bool, took: Duration) {
        let mut sizes = batch.frames.iter().map(|frame| frame.pixels.size());
        let Some(input) = sizes.next().filter(|input| sizes.all(|size| size == *input)) else { return };
        if is_first {
            self.pace.guess(input, batch.frames.len(), took);
        } else {
            self.pace.learn(input, batch.frames.len(), took);
        }
    }

    fn next_batch(&mut self) -> Option<NumberedBatch> {
        let batch = loop {
            match self.batches.recv_timeout(IDLE) {
                Err(RecvTimeoutError::Timeout) => self.prepare_one(),
                Ok(batch) => break Some(batch),
                Err(RecvTimeoutError::Disconnected) => break None,
            }
        };
        if !self.abandon.is_stopped() {
            return batch;
        }
        for NumberedBatch { batch, .. } in batch.into_iter().chain(self.batches.try_iter()) {
            drop_all(batch, DropCause::Shutdown);
        }
        None
    }

    /// Runs the network on black images in a batch size that it has not seen, if there is one that is soon done.
    fn prepare_one(&mut self) {
        let Some(size) = self.prepared.next(self.max_batch, self.pace.per_frame()) else { return };
        self.prepared.sizes.insert(size);
        let Some(Sample { pixels, source, placement }) = &self.prepared.sample else { return };
        let frame = DetectFrame { pixels, source: *source, placement: *placement, keep: Keep::all() };
        let black = vec![frame; size];
        // Whatever is wrong with this size is found, and dealt with, when a batch needs it.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.detector.prepare(&black))) {
            tracing::debug!(size, reason = message(panic.as_ref()), "preparing a batch size panicked");
        }
    }

    /// Runs the network on the images of a batch. While the input's size changes, a batch may hold images of both
    /// sizes: each size is a batch of its own to the network.
    fn look(&mut self, batch: &FrameBatch) -> Result<Detected, Failure> {
        let sizes: Vec<Size> = batch.frames.iter().map(|frame| frame.pixels.size()).collect();
        if sizes.windows(2).all(|two| two[0] == two[1]) {
            return self.look_at(batch.frames.iter());
        }
        let mut findings: Vec<Option<Findings>> = vec![None; sizes.len()];
        let (mut infer, mut post, mut passes) = (Duration::ZERO, Duration::ZERO, 0);
        let mut distinct: Vec<Size> = Vec::new();
        for size in &sizes {
            if !distinct.contains(size) {
                distinct.push(*size);
            }
        }
        for size in distinct {
            let of_size = |index: &usize| sizes.get(*index) == Some(&size);
            let indices: Vec<usize> = (0..sizes.len()).filter(of_size).collect();
            let detected = self.look_at(indices.iter().filter_map(|index| batch.frames.get(*index)))?;
            (infer, post) = (infer + detected.infer, post + detected.post);
            passes = passes.max(detected.passes);
            for (index, found) in indices.into_iter().zip(detected.findings) {
                findings[index] = Some(found);
            }
        }
        Ok(Detected { findings: findings.into_iter().flatten().collect(), infer, post, passes })
    }

    fn look_at<'a>(&mut self, frames: impl Iterator<Item = &'a Frame>) -> Result<Detected, Failure> {
        let frames: Vec<_> = frames
            .map(|frame| DetectFrame {
                pixels: &frame.pixels,
                source: frame.header.source,
                placement: frame.header.placement,
                keep: &frame.header.keep,
            })
            .collect();
        // A detector that has panicked is never used again.
        let detected = catch_unwind(AssertUnwindSafe(|| self.detector.detect(&frames)))
            .map_err(|panic| Failure::Panicked(message(panic.as_ref())))?
            .map_err(|error| Failure::Refused(error.to_string()))?;
        if detected.findings.len() == frames.len() {
            Ok(detected)
        } else {
            let (got, want) = (detected.findings.len(), frames.len());
            Err(Failure::Refused(format!("the network gave {got} results for {want} frames")))
        }
    }

    /// Whether there is a network again; not where the device is to stop before.
    fn make_anew(&mut self) -> bool {
        let (mut wait, longest) = REBUILD_WAIT;
        loop {
            let made = catch_unwind(AssertUnwindSafe(|| (self.rebuild)()))
                .unwrap_or_else(|panic| Err(message(panic.as_ref())));
            match made {
                Ok(detector) => {
                    self.detector = detector;
                    self.prepared = Prepared::default();
                    return true;
                }
                Err(reason) => tracing::error!(%reason, ?wait, "the network could not be made anew"),
            }
            if self.abandon.wait(wait) {
                return false;
            }
            wait = longest.min(wait * 2);
        }
    }
}

fn rejoin(batch: FrameBatch, detected: Detected, started: Instant, busy: Duration) -> InferredBatch {
    let results = batch
        .frames
        .into_iter()
        .zip(detected.findings)
        .map(|(frame, findings)| FrameResult {
            header: frame.header,
            ticket: frame.ticket,
            findings,
            snapshot: frame.snapshot,
            batched_at: started,
            infer: detected.infer,
            post: detected.post,
        })
        .collect();
    InferredBatch { results, closed_by: batch.closed_by, busy, passes: detected.passes }
}

fn drop_all(batch: FrameBatch, cause: DropCause) {
    batch.frames.into_iter().for_each(|frame| frame.ticket.dropped(cause));
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("without a message"))
}
