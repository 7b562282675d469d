//! Runs a camera on a thread of its own. The test takes the place of the worker.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use lookout_config::CameraSettings;
use lookout_ingest::{CameraSource, Wanted};
use lookout_schema::{CameraStatus, LedgerCounts, Size};
use lookout_stage::{
    CameraLedger, CameraQueue, CameraReport, Frame, FrameSkip, FrameSource, Permits, ResizeMode, SourceEnd,
    SourceOutlet, StopOnDrop, TryRecv, WhenFull, camera_queue, stop_signal,
};

/// The size of the frames that the tests request.
pub const INPUT: Size = Size { width: 320, height: 192 };

/// Returns the settings of a `[[camera]]` called `cam` with these `lines`, parsed as a worker parses them.
pub fn camera(lines: &str) -> anyhow::Result<CameraSettings> {
    let text = format!(
        "name = \"test\"\n[model]\narch = \"resnet50\"\nweights = \"random:0\"\n[kafka]\nbrokers = \"embedded\"\n\
         [[camera]]\nid = \"cam\"\n{lines}\n"
    );
    let pipeline = lookout_config::parse(Path::new("/test.toml"), &text, &|_| None)?;
    pipeline.cameras.into_iter().next().context("no camera")
}

/// How a test consumes a camera's frames.
#[derive(Debug, Clone, Copy)]
pub struct Take {
    pub wanted: Wanted,
    /// Number of permits, for the frames of a file that the test has not yet settled; live cameras need no
    /// permits.
    pub permits: usize,
}

impl Default for Take {
    fn default() -> Self {
        let wanted =
            Wanted { input: INPUT, fit: ResizeMode::Letterbox, every: NonZeroU32::MIN, snapshots: None };
        Self { wanted, permits: 64 }
    }
}

/// A running camera.
#[derive(Debug)]
pub struct RunningSource {
    pub ledger: Arc<CameraLedger>,
    reports: Receiver<CameraReport>,
    queue: CameraQueue,
    wake: Receiver<()>,
    stop: Option<StopOnDrop>,
    thread: JoinHandle<SourceEnd>,
}

impl RunningSource {
    pub fn start(settings: CameraSettings, take: Take) -> anyhow::Result<Self> {
        let live = settings.uri.is_live();
        let when_full = if live { WhenFull::DropOldest } else { WhenFull::Block };
        let (wake_sender, wake) = bounded(1);
        let (intake, queue) = camera_queue(settings.queue, when_full, wake_sender);
        let permits = NonZeroUsize::new(take.permits).filter(|_| !live).map(Permits::new);
        let (stop_guard, stop) = stop_signal();
        let (report_sender, reports) = bounded(4096);
        let ledger = CameraLedger::new(settings.id.clone());
        let outlet = SourceOutlet {
            intake,
            ledger: ledger.clone(),
            permits,
            reports: report_sender,
            frame_skip: FrameSkip::default(),
            stop,
        };
        let mut source = CameraSource::new(settings, take.wanted);
        let thread = thread::Builder::new().spawn(move || source.run(&outlet))?;
        Ok(Self { ledger, reports, queue, wake, stop: Some(stop_guard), thread })
    }

    /// Returns the next frame, or `None` after the camera has ended; fails if neither happens within
    /// `patience`.
    pub fn next(&self, patience: Duration) -> anyhow::Result<Option<Frame>> {
        let deadline = Instant::now() + patience;
        loop {
            match self.queue.try_recv() {
                TryRecv::Frame(frame) => return Ok(Some(frame)),
                TryRecv::Ended => return Ok(None),
                TryRecv::Empty => {}
            }
            // The camera closes the queue before the wake channel, so the next iteration finds the end.
            if self.wake.recv_deadline(deadline) == Err(RecvTimeoutError::Timeout) && self.queue.is_empty() {
                bail!(
                    "no frame within {patience:?}; reports: {:?}",
                    self.reports.try_iter().collect::<Vec<_>>()
                );
            }
        }
    }

    /// Returns the next frame, which must come within `patience`.
    pub fn frame(&self, patience: Duration) -> anyhow::Result<Frame> {
        self.next(patience)?.context("the camera has ended")
    }

    /// Returns the first frame for which `wanted` is true; the frames before it are settled as delivered.
    pub fn frame_where(&self, patience: Duration, wanted: impl Fn(&Frame) -> bool) -> anyhow::Result<Frame> {
        let deadline = Instant::now() + patience;
        loop {
            let frame = self.frame(deadline.saturating_duration_since(Instant::now()))?;
            if wanted(&frame) {
                return Ok(frame);
            }
            deliver(frame);
        }
    }

    /// Returns the next report of `status`.
    pub fn report(&self, status: CameraStatus, patience: Duration) -> anyhow::Result<CameraReport> {
        let deadline = Instant::now() + patience;
        loop {
            let report = self.reports.recv_deadline(deadline);
            let report = report.with_context(|| format!("no report of {status:?} within {patience:?}"))?;
            if report.status == status {
                return Ok(report);
            }
        }
    }

    /// Stops the camera; returns how it ended, how long that took, and its ledger.
    pub fn stop(mut self) -> anyhow::Result<(SourceEnd, Duration, LedgerCounts)> {
        let started = Instant::now();
        drop(self.stop.take());
        let end = self.thread.join().ok().context("the camera's thread panicked")?;
        let took = started.elapsed();
        drop(self.queue);
        let counts = self.ledger.counts();
        counts.check()?;
        Ok((end, took, counts))
    }

    /// Consumes all frames until the camera's end, and passes them to `each`.
    pub fn run_out(
        self,
        patience: Duration,
        mut each: impl FnMut(&Frame),
    ) -> anyhow::Result<(SourceEnd, LedgerCounts)> {
        while let Some(frame) = self.next(patience)? {
            each(&frame);
            deliver(frame);
        }
        let (end, _, counts) = self.stop()?;
        Ok((end, counts))
    }
}

/// Settles a frame as delivered, as the broker would.
pub fn deliver(frame: Frame) {
    let mut ticket = frame.ticket;
    ticket.published(1);
    ticket.sent();
    ticket.delivered();
}
