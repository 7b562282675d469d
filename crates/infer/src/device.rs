//! A device thread, which is the only thread that uses its network.

use std::{
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
    BatchResult, Detect, DetectFrame, DetectionFilter, ExponentialBackoff, Frame, FrameBatch, FrameResult,
    InferenceResult, Pixels, ResizeTransform, Stop, describe_panic,
};

use crate::{
    DeviceEvent, InferredBatch, ReloadError, ReloadModel, batch_scheduler::NumberedBatch,
    sequencer::Sequencer, time_per_frame::TimePerFrame,
};

pub(crate) struct Device {
    pub(crate) detector: Box<dyn Detect>,
    pub(crate) reload: ReloadModel,
    pub(crate) batches: Receiver<NumberedBatch>,
    /// Number of batches that were handed over and are not finished.
    pub(crate) outstanding: Arc<AtomicUsize>,
    pub(crate) time_per_frame: Arc<TimePerFrame>,
    pub(crate) sequencer: Arc<Sequencer>,
    /// Number of streams of this device that are active.
    pub(crate) active_streams: Arc<AtomicU32>,
    /// Maximum number of frames in a batch.
    pub(crate) max_batch: usize,
    pub(crate) prepared: Prepared,
    pub(crate) wake: Sender<()>,
    pub(crate) abandon: Stop,
}

/// Number of consecutive failed batches after which the network is reloaded. Some errors of a GPU persist until then.
const FAILURES_TO_RELOAD: u32 = 3;
/// Initial and maximum wait between attempts to reload the network; doubled after each attempt.
const RELOAD_WAIT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// A device without a batch for this long is idle and has time to prepare a batch size.
const IDLE: Duration = Duration::from_millis(200);
/// A batch size that is expected to take longer is not prepared while idle, because arriving frames would wait for it.
/// It is prepared when it is first needed.
const IDLE_BATCH: Duration = Duration::from_millis(50);

/// The batch sizes that a stream has run. The first batch of each size takes longer, because libtorch chooses
/// algorithms, compiles kernels and allocates memory.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    sizes: BTreeSet<usize>,
    /// The geometry of the last frame, from which batches for preparation are made.
    sample: Option<Sample>,
}

#[derive(Debug)]
struct Sample {
    pixels: Pixels,
    source: Size,
    placement: ResizeTransform,
}

impl Prepared {
    /// Records that `batch` is run, and returns whether it is the first of its size.
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

    /// Returns the largest batch size up to `max_batch` that has not run and, at `per_frame`, is quick to run. The
    /// largest comes first, because it determines how much memory is allocated.
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
            let active = self.active_streams.fetch_add(1, SeqCst) + 1;
            let result = self.detect(&batch);
            let active = active.max(self.active_streams.fetch_sub(1, SeqCst));
            let reason = match result {
                Ok(detected) => {
                    failures = 0;
                    let took = started.elapsed();
                    self.learn(&batch, is_first, took);
                    let busy = took / active.max(1);
                    self.forward(
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
                    self.forward(number, &emit, DeviceEvent::BatchFailed { frames, reason: reason.clone() });
                    (failures >= FAILURES_TO_RELOAD).then_some(reason)
                }
                Err(Failure::Panicked(reason)) => {
                    drop_all(batch, DropCause::StageFailed);
                    Some(reason)
                }
            };
            if let Some(reason) = reason {
                failures = 0;
                self.forward(number, &emit, DeviceEvent::Restarted { reason });
                if !self.reload_model(&emit) {
                    return;
                }
            }
            self.outstanding.fetch_sub(1, SeqCst);
            // If the wake channel is full, a notification for the batch thread is already pending.
            let _ = self.wake.try_send(());
        }
    }

    fn forward(&self, number: u64, emit: &impl Fn(DeviceEvent), event: DeviceEvent) {
        self.sequencer.in_order(number, &self.abandon, || emit(event));
    }

    fn learn(&self, batch: &FrameBatch, is_first: bool, took: Duration) {
        let mut sizes = batch.frames.iter().map(|frame| frame.pixels.size());
        let Some(input) = sizes.next().filter(|input| sizes.all(|size| size == *input)) else { return };
        if is_first {
            self.time_per_frame.guess(input, batch.frames.len(), took);
        } else {
            self.time_per_frame.learn(input, batch.frames.len(), took);
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

    /// Runs the network on black images in a batch size that has not run yet, if there is one that is quick to run.
    fn prepare_one(&mut self) {
        let Some(size) = self.prepared.next(self.max_batch, self.time_per_frame.per_frame()) else { return };
        self.prepared.sizes.insert(size);
        let Some(Sample { pixels, source, placement }) = &self.prepared.sample else { return };
        let frame =
            DetectFrame { pixels, source: *source, placement: *placement, keep: DetectionFilter::all() };
        let black = vec![frame; size];
        // An error with this size is found and handled when a batch needs it.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.detector.prepare(&black))) {
            tracing::debug!(
                size,
                reason = describe_panic(panic.as_ref()),
                "warming up a batch size panicked"
            );
        }
    }

    /// Runs the network on the images of a batch. While the input's size changes, a batch may hold images of two sizes;
    /// the network then runs once for each size.
    fn detect(&mut self, batch: &FrameBatch) -> Result<BatchResult, Failure> {
        let sizes: Vec<Size> = batch.frames.iter().map(|frame| frame.pixels.size()).collect();
        if sizes.windows(2).all(|two| two[0] == two[1]) {
            return self.detect_one_size(batch.frames.iter());
        }
        let mut findings: Vec<Option<InferenceResult>> = vec![None; sizes.len()];
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
            let detected =
                self.detect_one_size(indices.iter().filter_map(|index| batch.frames.get(*index)))?;
            (infer, post) = (infer + detected.infer, post + detected.post);
            passes = passes.max(detected.passes);
            for (index, found) in indices.into_iter().zip(detected.findings) {
                findings[index] = Some(found);
            }
        }
        Ok(BatchResult { findings: findings.into_iter().flatten().collect(), infer, post, passes })
    }

    fn detect_one_size<'a>(
        &mut self,
        frames: impl Iterator<Item = &'a Frame>,
    ) -> Result<BatchResult, Failure> {
        let frames: Vec<_> = frames
            .map(|frame| DetectFrame {
                pixels: &frame.pixels,
                source: frame.header.source,
                placement: frame.header.placement,
                keep: &frame.header.keep,
            })
            .collect();
        // A detector that has panicked is never used again, so its state needs no unwind safety.
        let detected = catch_unwind(AssertUnwindSafe(|| self.detector.detect(&frames)))
            .map_err(|panic| Failure::Panicked(describe_panic(panic.as_ref())))?
            .map_err(|error| Failure::Refused(error.to_string()))?;
        if detected.findings.len() == frames.len() {
            Ok(detected)
        } else {
            let (got, want) = (detected.findings.len(), frames.len());
            Err(Failure::Refused(format!("the network returned {got} results for {want} frames")))
        }
    }

    /// Reloads the network and retries until it succeeds. Returns false if the device is stopped before that, or lost:
    /// its batches are then dropped when it is stopped.
    fn reload_model(&mut self, emit: &impl Fn(DeviceEvent)) -> bool {
        let mut backoff = ExponentialBackoff::new(RELOAD_WAIT.0, RELOAD_WAIT.1);
        loop {
            let made = catch_unwind(AssertUnwindSafe(|| (self.reload)()))
                .unwrap_or_else(|panic| Err(ReloadError::Failed(describe_panic(panic.as_ref()))));
            let wait = match made {
                Ok(detector) => {
                    self.detector = detector;
                    self.prepared = Prepared::default();
                    return true;
                }
                Err(ReloadError::Failed(reason)) => {
                    let wait = backoff.next_wait();
                    tracing::error!(%reason, ?wait, "the network could not be reloaded, retrying");
                    wait
                }
                Err(ReloadError::DeviceLost(reason)) => {
                    emit(DeviceEvent::Lost { reason });
                    Duration::MAX
                }
            };
            if self.abandon.wait(wait) {
                self.batches.try_iter().for_each(|waiting| drop_all(waiting.batch, DropCause::Shutdown));
                return false;
            }
        }
    }
}

fn rejoin(batch: FrameBatch, detected: BatchResult, started: Instant, busy: Duration) -> InferredBatch {
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
