//! The source of one camera: connects, delivers frames and reconnects.

use std::{num::NonZeroU32, sync::Arc};

use lookout_config::{CameraSettings, DecoderChoice, SnapshotSettings, SourceUri};
use lookout_schema::{CameraId, CameraStatus, RetryReason, SessionId, Size, Timestamp};
use lookout_stage::{
    CameraReport, DetectionFilter, FrameSource, GpuScaler, InputSize, ResizeMode, SourceEnd, SourceOutlet,
};

use crate::{
    Fault,
    backoff::Backoff,
    capture::{CaptureClock, FileClock, LiveClock},
    container::{self, Truncation},
    cuda_context, file,
    nvcodec::{self, CameraDecoders, Verdict},
    pipe,
    pipeline::{self, LeftBehind},
    preprocessor::Preprocessor,
    rtp_time::RtpTime,
    rtsp,
    session::{Session, SessionEnd, SessionOutcome},
    snapshots::Snapshots,
    stamp::Stamper,
};

/// Delivers the frames of one camera or video file.
///
/// Frames have the size of the network's input. A live source is reconnected as often as its settings allow, and
/// each connection is a new session. A file is read once, or repeatedly with `loop`, and each pass is a session.
#[derive(Debug)]
pub struct CameraSource {
    settings: CameraSettings,
    preprocessor: Preprocessor,
    every: NonZeroU32,
    keep: Arc<DetectionFilter>,
    snapshots: Option<Snapshots>,
    left_behind: LeftBehind,
    habits: Arc<rtsp::Habits>,
    decoders: Arc<CameraDecoders>,
}

/// Which of a camera's frames are delivered, and in which form.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Size of the network's input in pixels.
    pub input: Size,
    /// Resize mode: how a frame is brought to that size.
    pub fit: ResizeMode,
    /// Frame-skip interval: the network processes one frame in `every`, and the others are dropped.
    pub every: NonZeroU32,
    /// Settings of the snapshots, if they are on.
    pub snapshots: Option<SnapshotSettings>,
}

impl CameraSource {
    /// Creates a source for the camera of `settings`, whose frames are as `wanted`. Does no I/O.
    pub fn new(settings: CameraSettings, wanted: Wanted) -> Self {
        let keep = DetectionFilter { regions: settings.regions.clone(), classes: settings.classes.clone() };
        let preprocessor = Preprocessor::new(wanted.input, wanted.fit);
        let snapshots = wanted.snapshots.map(Snapshots::new);
        let decoders = CameraDecoders::new(&settings, None, None);
        Self {
            settings,
            preprocessor,
            every: wanted.every,
            keep: Arc::new(keep),
            snapshots,
            left_behind: LeftBehind::default(),
            habits: Arc::default(),
            decoders,
        }
    }

    /// Sets the GPU that scales the frames which a GPU decoder leaves in its memory.
    ///
    /// `on_fallback` is called with the camera's id each time a CPU decoder replaces its GPU decoder.
    #[must_use]
    pub fn with_gpu(
        mut self,
        gpu: Option<Arc<dyn GpuScaler>>,
        on_fallback: impl Fn(&CameraId) + Send + Sync + 'static,
    ) -> Self {
        let index = gpu.as_ref().map(|gpu| gpu.device());
        self.decoders = CameraDecoders::new(&self.settings, Some(Arc::new(on_fallback)), index);
        self.preprocessor.scale_with(gpu);
        self
    }

    /// Makes the size of the frames follow `input`, which is read for every frame.
    #[must_use]
    pub fn following(mut self, input: InputSize) -> Self {
        self.preprocessor.follow(input);
        self
    }

    fn connect(
        &mut self,
        outlet: &SourceOutlet,
        stamper: &Arc<Stamper>,
        rtp_time: Option<Arc<RtpTime>>,
    ) -> SessionOutcome {
        tracing::debug!(camera = %self.settings.id, session = %stamper.session(), uri = %self.settings.uri, "connecting");
        let Self { settings, preprocessor, every, keep, snapshots, left_behind, habits, decoders } = self;
        let (every, snapshots) = (*every, snapshots.as_mut());
        let stamper = Arc::clone(stamper);
        let session = Session {
            settings,
            outlet,
            stamper,
            rtp_time,
            preprocessor,
            every,
            keep,
            snapshots,
            left_behind,
            habits,
            decoders,
        };
        session.run()
    }

    /// Runs a live source, which is reconnected after any end of a connection until it is stopped or `retry` is
    /// exhausted.
    fn run_live(&mut self, outlet: &SourceOutlet) -> SourceEnd {
        let mut backoff = Backoff::new(self.settings.retry);
        let mut id = SessionId::generate();
        loop {
            self.report(outlet, CameraStatus::Connecting, id, None);
            let rtp_time = RtpTime::new(self.settings.id.clone());
            let clock = CaptureClock::Live(LiveClock::new(Arc::clone(&rtp_time)));
            let stamper = Arc::new(Stamper::new(id, clock));
            let outcome = self.connect(outlet, &stamper, Some(rtp_time));
            let session = outcome.session;
            id = session.next();
            let mut fault = match outcome.end {
                SessionEnd::Stopped => return SourceEnd::Stopped,
                SessionEnd::Fault(fault) => fault,
                SessionEnd::Ended => {
                    let detail = format!("{}: the source ended the stream", self.settings.uri);
                    Fault::new(RetryReason::EndOfStream, detail)
                }
            };
            let Some(wait) = backoff.after(outcome.flowed, fault.reason, rand::random()) else {
                return SourceEnd::Failed { reason: fault.reason, detail: fault.detail };
            };
            if fault.reason == RetryReason::Unauthorized {
                fault.detail += &format!(
                    "; the next login is attempted in {} s, because cameras lock an account after a few failed logins",
                    wait.as_secs_f64().round()
                );
            }
            tracing::debug!(
                camera = %self.settings.id,
                %session,
                frames = outcome.frames,
                packets = outcome.packets,
                wait_ms = wait.as_millis() as u64,
                "connection lost"
            );
            self.report(outlet, CameraStatus::Retrying, session, Some(fault));
            if outlet.stop.wait(wait) {
                return SourceEnd::Stopped;
            }
        }
    }

    /// Runs a file source, for which every fault is final: to read the file again would not change it.
    fn run_file(&mut self, path: &std::path::Path, outlet: &SourceOutlet) -> SourceEnd {
        let mut start = Timestamp::now();
        let mut id = SessionId::generate();
        loop {
            if let Err(Fault { reason, detail }) = file::check(path) {
                return SourceEnd::Failed { reason, detail };
            }
            self.report(outlet, CameraStatus::Connecting, id, None);
            let clock = CaptureClock::File(FileClock::new(start, self.settings.file_fps));
            let stamper = Arc::new(Stamper::new(id, clock));
            let outcome = self.connect(outlet, &stamper, None);
            id = outcome.session.next();
            if outcome.gaps > 0 {
                tracing::warn!(
                    camera = %self.settings.id,
                    gaps = outcome.gaps,
                    "packets of the MPEG transport stream are missing; the decoder conceals the missing data"
                );
            }
            if outcome.undecodable > 0 {
                tracing::warn!(
                    camera = %self.settings.id,
                    frames = outcome.undecodable,
                    "frames of the file were dropped, because their reference frames are missing; the file starts \
                     between two key frames, or is damaged"
                );
            }
            if outcome.lost() > 0 {
                tracing::warn!(
                    camera = %self.settings.id,
                    packets = outcome.shown,
                    frames = outcome.frames,
                    "fewer frames were decoded than the file has packets; parts of it may be damaged"
                );
            }
            // No frame was published, so the file can be read from its start. The data of a named pipe cannot.
            if outcome.decoding == Verdict::FallsBack && outcome.frames == 0 && !pipe::is_pipe(path) {
                continue;
            }
            match end_of_file(path, &self.settings.uri, &outcome) {
                SessionEnd::Stopped => return SourceEnd::Stopped,
                SessionEnd::Fault(Fault { reason, mut detail }) => {
                    if outcome.decoding == Verdict::FallsBack {
                        detail += "; its GPU decoder failed, set `decoder = \"cpu\"` to decode it on the CPU";
                    }
                    return SourceEnd::Failed { reason, detail };
                }
                SessionEnd::Ended if self.settings.loop_file => {
                    start = stamper.end().unwrap_or(start);
                }
                SessionEnd::Ended => return SourceEnd::Ended,
            }
        }
    }

    fn report(&self, outlet: &SourceOutlet, status: CameraStatus, id: SessionId, why: Option<Fault>) {
        let (retry, detail) = why.map(|fault| (fault.reason, fault.detail)).unzip();
        let camera = self.settings.id.clone();
        outlet.report(CameraReport { camera, status, session: Some(id), clock: None, retry, detail });
    }
}

impl FrameSource for CameraSource {
    fn run(&mut self, outlet: &SourceOutlet) -> SourceEnd {
        let ready = pipeline::init().and_then(|()| nvcodec::check(&self.settings));
        if let Err(Fault { reason, detail }) = ready {
            return SourceEnd::Failed { reason, detail };
        }
        if self.settings.decoder != DecoderChoice::Cpu {
            cuda_context::prepare(self.preprocessor.gpu());
        }
        match self.settings.uri.clone() {
            SourceUri::File(path) => self.run_file(&path, outlet),
            _ => self.run_live(outlet),
        }
    }
}

/// Returns the actual end of a pass over a file.
///
/// GStreamer reports a regular end of the stream for truncated and damaged files, which are faults here.
fn end_of_file(path: &std::path::Path, uri: &SourceUri, outcome: &SessionOutcome) -> SessionEnd {
    let shown = path.display();
    let frames = outcome.frames;
    let undecodable = |detail| SessionEnd::Fault(Fault::new(RetryReason::Undecodable, detail));
    if outcome.end == SessionEnd::Stopped {
        return SessionEnd::Stopped;
    }
    // Packets are counted at the decoder, which raw video does not have.
    let truncation = container::truncation(path, outcome.packets.max(frames)).ok().flatten();
    match (truncation, &outcome.end) {
        (Some(Truncation::Missing { bytes, frames: missing }), _) => {
            let with = missing.map(|missing| format!(", with {missing} frames")).unwrap_or_default();
            undecodable(format!(
                "{shown}: the file is cut off: {bytes} bytes are missing at its end{with}; {frames} frames could be \
                 read; copy or record it again"
            ))
        }
        (Some(Truncation::NoIndex), _) => undecodable(format!(
            "{shown}: the file has no index (`moov`), which recorders write when they stop, so the recording was cut \
             off; {frames} frames could be read; rebuild the index with a repair tool, or record it again"
        )),
        (None, SessionEnd::Ended) if frames == 0 => {
            undecodable(format!("{shown}: no frame could be decoded; check that it is a video file"))
        }
        // If no frame could be decoded, GStreamer reports that there is no video.
        (None, _) if frames > 0 && outcome.undecodable == frames => {
            SessionEnd::Fault(Fault::no_key_frame(uri, frames, None))
        }
        // Some interlaced files have two packets per frame, and a few more packets are lost wherever a file was cut.
        (None, SessionEnd::Ended) if outcome.lost() * 20 > outcome.shown * 11 => undecodable(format!(
            "{shown}: most of the file is damaged: {frames} frames could be decoded from {} packets",
            outcome.shown
        )),
        (None, _) => outcome.end.clone(),
    }
}
