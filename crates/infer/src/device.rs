//! A device thread: the only one that touches its network.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender};
use lookout_schema::DropCause;
use lookout_stage::{Detect, DetectFrame, Detected, FrameBatch, FrameResult, Stop};

use crate::{DeviceEvent, InferredBatch, Rebuild, feeder::NumberedBatch, pace::Pace, turns::Turns};

pub(crate) struct Device {
    pub(crate) detector: Box<dyn Detect>,
    pub(crate) rebuild: Rebuild,
    pub(crate) batches: Receiver<NumberedBatch>,
    /// Batches that were handed over and are not done with.
    pub(crate) outstanding: Arc<AtomicUsize>,
    pub(crate) pace: Arc<Pace>,
    pub(crate) turns: Arc<Turns>,
    /// Streams of this device.
    pub(crate) streams: u32,
    pub(crate) wake: Sender<()>,
    pub(crate) abandon: Stop,
}

/// Failed batches in a row after which the network is made anew: some errors of a GPU stay until then.
const FAILURES_TO_REBUILD: u32 = 3;
/// Wait before a network that could not be made is tried again; doubled each time up to the second.
const REBUILD_WAIT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

enum Failure {
    Refused(String),
    Panicked(String),
}

impl Device {
    pub(crate) fn run(mut self, emit: impl Fn(DeviceEvent)) {
        let mut failures = 0;
        while let Some(NumberedBatch { number, batch }) = self.next_batch() {
            let started = Instant::now();
            let reason = match self.look(&batch) {
                Ok(detected) => {
                    failures = 0;
                    let took = started.elapsed();
                    self.pace.learn(batch.frames.len(), took);
                    let busy = took / self.streams;
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

    fn next_batch(&self) -> Option<NumberedBatch> {
        let batch = self.batches.recv().ok();
        if !self.abandon.is_stopped() {
            return batch;
        }
        for NumberedBatch { batch, .. } in batch.into_iter().chain(self.batches.try_iter()) {
            drop_all(batch, DropCause::Shutdown);
        }
        None
    }

    fn look(&mut self, batch: &FrameBatch) -> Result<Detected, Failure> {
        let frames: Vec<_> = batch
            .frames
            .iter()
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
    InferredBatch { results, closed_by: batch.closed_by, busy }
}

fn drop_all(batch: FrameBatch, cause: DropCause) {
    batch.frames.into_iter().for_each(|frame| frame.ticket.dropped(cause));
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("without a message"))
}
