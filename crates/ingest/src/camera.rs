//! A camera: one connection after the other.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use lookout_config::{CameraSettings, SnapshotSettings, SourceUri};
use lookout_schema::{CameraStatus, RetryReason, SessionId, Size, Timestamp};
use lookout_stage::{CameraReport, Fit, FrameSource, Keep, SourceEnd, SourceOutlet};

use crate::{
    Fault,
    backoff::Backoff,
    capture::CaptureClock,
    cut_off, file,
    fitter::Fitter,
    pipeline::{self, LeftBehind},
    session::{Session, SessionEnd, SessionOutcome},
    snapshots::Snapshots,
};

/// A camera, or a file that stands for one.
///
/// Frames come in the size of the model's input. A live source is connected anew, each time with a new
/// session, for as long as its settings allow; a file is read once, or again and again with `loop`, each
/// pass a session of its own.
#[derive(Debug)]
pub struct CameraSource {
    settings: CameraSettings,
    fitter: Fitter,
    every: NonZeroU32,
    keep: Arc<Keep>,
    snapshots: Option<Snapshots>,
    left_behind: LeftBehind,
}

/// What is asked of a camera's frames.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Pixels of the network's input.
    pub input: Size,
    /// How a frame is brought there.
    pub fit: Fit,
    /// The network looks at every so many frames of a camera; the others are dropped.
    pub every: NonZeroU32,
    /// Small pictures beside the frames.
    pub snapshots: Option<SnapshotSettings>,
}

impl CameraSource {
    /// A source for `settings` whose frames are as `wanted`. Does no I/O.
    pub fn new(settings: CameraSettings, wanted: Wanted) -> Self {
        let keep = Keep { regions: settings.regions.clone(), classes: settings.classes.clone() };
        let fitter = Fitter::new(wanted.input, wanted.fit);
        let snapshots = wanted.snapshots.map(Snapshots::new);
        let (every, keep) = (wanted.every, Arc::new(keep));
        Self { settings, fitter, every, keep, snapshots, left_behind: LeftBehind::default() }
    }

    fn connect(&mut self, outlet: &SourceOutlet, id: SessionId, capture: CaptureClock) -> SessionOutcome {
        tracing::debug!(camera = %self.settings.id, session = %id, uri = %self.settings.uri, "connecting");
        let Self { settings, fitter, every, keep, snapshots, left_behind } = self;
        let (every, snapshots) = (*every, snapshots.as_mut());
        let session = Session { settings, outlet, id, fitter, capture, every, keep, snapshots, left_behind };
        session.run()
    }

    /// A live source: connected anew whatever it ends with.
    fn run_live(&mut self, outlet: &SourceOutlet) -> SourceEnd {
        let mut backoff = Backoff::new(self.settings.retry);
        loop {
            let id = SessionId::generate();
            self.report(outlet, CameraStatus::Connecting, id, None);
            let outcome = self.connect(outlet, id, CaptureClock::live());
            let fault = match outcome.end {
                SessionEnd::Stopped => return SourceEnd::Stopped,
                SessionEnd::Fault(fault) => fault,
                SessionEnd::Ended => {
                    let detail = format!("{}: the stream was ended from the other side", self.settings.uri);
                    Fault::new(RetryReason::EndOfStream, detail)
                }
            };
            let Some(wait) = backoff.after(outcome.flowed, rand::random()) else {
                return SourceEnd::Failed { reason: fault.reason, detail: fault.detail };
            };
            tracing::debug!(
                camera = %self.settings.id,
                session = %id,
                frames = outcome.frames,
                packets = outcome.packets,
                wait_ms = wait.as_millis() as u64,
                "connection lost"
            );
            self.report(outlet, CameraStatus::Retrying, id, Some(fault));
            if outlet.stop.wait(wait) {
                return SourceEnd::Stopped;
            }
        }
    }

    /// A file: a fault is for good, since nothing about it will change.
    fn run_file(&mut self, path: &std::path::Path, outlet: &SourceOutlet) -> SourceEnd {
        let mut start = Timestamp::now();
        loop {
            if let Err(Fault { reason, detail }) = file::check(path) {
                return SourceEnd::Failed { reason, detail };
            }
            let id = SessionId::generate();
            self.report(outlet, CameraStatus::Connecting, id, None);
            let outcome = self.connect(outlet, id, CaptureClock::file(start));
            if outcome.lost() > 0 {
                tracing::warn!(
                    camera = %self.settings.id,
                    packets = outcome.packets,
                    frames = outcome.frames,
                    "the file gave fewer frames than it has packets, parts of it may be damaged"
                );
            }
            match end_of_file(path, &outcome) {
                SessionEnd::Stopped => return SourceEnd::Stopped,
                SessionEnd::Fault(Fault { reason, detail }) => return SourceEnd::Failed { reason, detail },
                SessionEnd::Ended if self.settings.loop_file => {
                    start = outcome.capture.end().unwrap_or(start);
                }
                SessionEnd::Ended => return SourceEnd::Ended,
            }
        }
    }

    fn report(&self, outlet: &SourceOutlet, status: CameraStatus, id: SessionId, why: Option<Fault>) {
        let (retry, detail) = why.map(|fault| (fault.reason, fault.detail)).unzip();
        let camera = self.settings.id.clone();
        send(outlet, CameraReport { camera, status, session: Some(id), clock: None, retry, detail });
    }
}

impl FrameSource for CameraSource {
    fn run(&mut self, outlet: &SourceOutlet) -> SourceEnd {
        if let Err(Fault { reason, detail }) = pipeline::init() {
            return SourceEnd::Failed { reason, detail };
        }
        match self.settings.uri.clone() {
            SourceUri::File(path) => self.run_file(&path, outlet),
            _ => self.run_live(outlet),
        }
    }
}

/// Tells the worker, which is always there to listen unless it is on its way out.
pub(crate) fn send(outlet: &SourceOutlet, report: CameraReport) {
    let _ = outlet.reports.send_timeout(report, Duration::from_secs(1));
}

/// What the end of a pass over a file really was: one that was cut off has none.
fn end_of_file(path: &std::path::Path, outcome: &SessionOutcome) -> SessionEnd {
    let shown = path.display();
    let frames = outcome.frames;
    let undecodable = |detail| SessionEnd::Fault(Fault::new(RetryReason::Undecodable, detail));
    if outcome.end == SessionEnd::Stopped {
        return SessionEnd::Stopped;
    }
    match (cut_off::missing_bytes(path), &outcome.end) {
        (Ok(Some(missing)), _) => undecodable(format!(
            "{shown}: the file is cut off: {missing} bytes are missing at its end; {frames} frames could be read; \
             copy or record it anew"
        )),
        (_, SessionEnd::Ended) if frames == 0 => {
            undecodable(format!("{shown}: not one frame could be decoded; check that it is a video file"))
        }
        // Two packets to a frame are what some interlaced files have, and a few more are lost at any seam.
        (_, SessionEnd::Ended) if outcome.lost() > outcome.packets / 20 * 11 => undecodable(format!(
            "{shown}: most of the file is damaged: {frames} frames could be decoded out of {} packets",
            outcome.packets
        )),
        _ => outcome.end.clone(),
    }
}
