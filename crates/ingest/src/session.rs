//! Runs one connection to a camera, from its first frame to its last.

mod outcome;

use std::{
    num::NonZeroU32,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use crossbeam_channel::select;
use lookout_config::CameraSettings;
use lookout_schema::{CameraStatus, Clock, DropCause, RetryReason, SessionId};
use lookout_stage::{
    CameraReport, DetectionFilter, Frame, FrameHeader, Permit, SourceOutlet, Ticket, WhenFull,
};

pub(crate) use outcome::{SessionEnd, SessionOutcome};

use crate::{
    Fault,
    appsink::{AppsinkSettings, DecodedFrame, process_time, since_epoch},
    decoder_policy::Evidence,
    nvcodec::{CameraDecoders, Verdict},
    pipeline::{Connection, Event, Kept, LeftBehind},
    preprocessor::Preprocessor,
    rtp_time::RtpTime,
    rtsp, silence,
    snapshots::Snapshots,
    stamp::{Stamp, Stamper},
};

/// A connection that is being set up or is running.
pub(crate) struct Session<'a> {
    pub(crate) settings: &'a CameraSettings,
    pub(crate) outlet: &'a SourceOutlet,
    pub(crate) stamper: Arc<Stamper>,
    pub(crate) preprocessor: &'a mut Preprocessor,
    /// The timestamps of the connection's RTP packets. None for sources without RTP.
    pub(crate) rtp_time: Option<Arc<RtpTime>>,
    /// The frame-skip interval: the network processes one frame in this many.
    pub(crate) every: NonZeroU32,
    pub(crate) keep: &'a Arc<DetectionFilter>,
    pub(crate) snapshots: Option<&'a mut Snapshots>,
    pub(crate) left_behind: &'a LeftBehind,
    pub(crate) habits: &'a Arc<rtsp::Habits>,
    pub(crate) decoders: &'a Arc<CameraDecoders>,
}

/// How long a file's decoder may neither take nor output data after its reader has failed. Most readers also report
/// the end of the stream, which ends the connection earlier.
const AFTER_FAULT: Duration = Duration::from_secs(10);

/// How long a file may make no progress in reading, decoding and output before it counts as stalled.
///
/// Slow machines and large frames must not reach this limit, because a file is not tried again.
const FILE_STALL: Duration = Duration::from_secs(60);

/// How often a source that waits for a permit checks whether it has been stopped.
const STOP_POLL: Duration = Duration::from_millis(50);

/// A camera without a key frame is reconnected after this many times its `connect_timeout_ms`.
///
/// Most cameras send a key frame at the start of a connection. The others send one within this time.
const KEY_FRAME_PATIENCE: u32 = 6;

/// The state of the connection so far.
#[derive(Debug)]
struct Progress {
    opened: Instant,
    logged_no_key_frame: bool,
    /// Number of frames that had left the decoder at the last check.
    seen: u64,
    flow: Option<(Instant, Instant)>,
    reported: Option<(SessionId, Clock)>,
    fault: Option<Fault>,
    /// The file's read and decode counter when it last changed, and the time of that change.
    moved: Option<(u64, Instant)>,
    waits_for_data: bool,
    /// Number of packets that had entered the decoder when its last frame was received.
    answered: u64,
    /// Whether the connection was closed because no frame arrived.
    is_silent: bool,
}

impl Session<'_> {
    /// Connects, and delivers frames until the connection ends.
    pub(crate) fn run(mut self) -> SessionOutcome {
        let live = self.settings.uri.is_live();
        let appsink_settings = AppsinkSettings {
            ledger: self.outlet.ledger.clone(),
            stamper: Arc::clone(&self.stamper),
            fps: self.settings.fps,
            every: self.every,
            frame_skip: self.outlet.frame_skip.clone(),
            when_full: if live { WhenFull::DropOldest } else { WhenFull::Block },
            queue: self.settings.queue,
        };
        let opened = Instant::now();
        let (left_behind, habits, decoders) = (self.left_behind, self.habits, self.decoders);
        let kept = Kept { rtp_time: self.rtp_time.as_ref(), left_behind, habits, decoders };
        let connection = match Connection::open(self.settings, appsink_settings, kept, &self.outlet.stop) {
            Ok(connection) => connection,
            Err(fault) => {
                let stopped = self.outlet.stop.is_stopped();
                return SessionOutcome {
                    end: if stopped { SessionEnd::Stopped } else { SessionEnd::Fault(fault) },
                    frames: 0,
                    packets: 0,
                    shown: 0,
                    undecodable: 0,
                    gaps: 0,
                    flowed: None,
                    session: self.stamper.session(),
                    decoding: Verdict::Fine,
                };
            }
        };
        let mut progress = Progress {
            opened,
            logged_no_key_frame: false,
            seen: 0,
            flow: None,
            reported: None,
            fault: None,
            moved: None,
            waits_for_data: false,
            answered: 0,
            is_silent: false,
        };
        let end = self.follow(&connection, &mut progress);
        let decoding = judge(&connection, &progress, &end);
        let end = match &decoding {
            Verdict::Failed { element, reason } => SessionEnd::Fault(self.without_gpu(element, reason, end)),
            Verdict::Fine | Verdict::FallsBack => end,
        };
        let counts = &connection.decoded_frames.counts;
        SessionOutcome {
            end,
            frames: counts.frames(),
            packets: connection.arrivals.packets(),
            shown: connection.arrivals.shown(),
            undecodable: counts.undecodable(),
            gaps: connection.gaps.load(Ordering::Relaxed),
            flowed: progress.flow.map(|(first, last)| last.saturating_duration_since(first)),
            session: self.stamper.session(),
            decoding,
        }
    }

    /// Returns the fault for a failed GPU decoder that no CPU decoder may replace.
    fn without_gpu(&self, element: &str, reason: &str, end: SessionEnd) -> Fault {
        let advice = "`decoder = \"gpu\"` does not allow a CPU decoder; `decoder = \"auto\"` does";
        let detail = format!("{}: {element} failed: {reason}; {advice}", self.settings.uri);
        match end {
            SessionEnd::Fault(fault) => Fault::new(fault.reason, detail),
            SessionEnd::Ended | SessionEnd::Stopped => Fault::new(RetryReason::Undecodable, detail),
        }
    }

    fn follow(&mut self, connection: &Connection, progress: &mut Progress) -> SessionEnd {
        let live = self.settings.uri.is_live();
        // The timeout covers only the time that this loop waits for the camera, not the time that it spends on
        // frames.
        let mut quiet_since = Instant::now();
        loop {
            let patience = match &progress.fault {
                Some(_) => AFTER_FAULT,
                None if progress.seen == 0 => self.settings.connect_timeout,
                None => self.settings.stall_timeout,
            };
            select! {
                recv(connection.decoded_frames.frames) -> decoded => {
                    if let Ok(decoded) = decoded {
                        self.deliver(decoded, progress);
                    }
                    progress.seen = connection.decoded_frames.counts.frames();
                    progress.answered = connection.arrivals.packets();
                    (progress.moved, progress.waits_for_data) = (None, false);
                    quiet_since = Instant::now();
                }
                recv(connection.events) -> event => match event {
                    Ok(Event::Fault(fault)) if !live => {
                        let nothing_follows =
                            connection.arrivals.codec().is_none() || connection.decoders.have_failed();
                        if nothing_follows && connection.decoded_frames.counts.frames() == 0 {
                            return SessionEnd::Fault(fault);
                        }
                        // Frames that were read before the fault may still leave the decoder.
                        progress.fault.get_or_insert(fault);
                        quiet_since = Instant::now();
                    }
                    Ok(Event::Fault(fault)) => {
                        self.deliver_rest(connection, progress);
                        return SessionEnd::Fault(fault);
                    }
                    Ok(Event::End) | Err(_) => {
                        self.deliver_rest(connection, progress);
                        let damage = || connection.damage().filter(|_| connection.decoded_frames.counts.frames() == 0);
                        return progress.fault.take().or_else(damage).map_or(SessionEnd::Ended, SessionEnd::Fault);
                    }
                },
                recv(self.outlet.stop.channel()) -> _ => return SessionEnd::Stopped,
                default(patience.saturating_sub(quiet_since.elapsed())) => {
                    let seen = connection.decoded_frames.counts.frames();
                    if seen == progress.seen && !live && self.waits_for_file(connection, progress, patience) {
                        quiet_since = Instant::now();
                    } else if seen == progress.seen {
                        let fault = progress.fault.take();
                        progress.is_silent = fault.is_none();
                        return SessionEnd::Fault(fault.unwrap_or_else(|| silence::fault(connection, self.settings, patience)));
                    } else {
                        progress.seen = seen;
                        progress.answered = connection.arrivals.packets();
                        quiet_since = Instant::now();
                        if connection.decoded_frames.counts.has_no_key_frame() {
                            if let Some(fault) = self.without_key_frame(connection, progress) {
                                return SessionEnd::Fault(fault);
                            }
                        } else {
                            // Frames arrived, and the frame rate limit dropped them all.
                            progress.flowed(quiet_since);
                        }
                    }
                }
            }
            if self.outlet.stop.is_stopped() {
                return SessionEnd::Stopped;
            }
        }
    }

    /// Returns whether to continue waiting for a file that has given no frame for `patience`.
    ///
    /// True while the file is being read or decoded, and for a pipe whose writer pauses.
    fn waits_for_file(&self, connection: &Connection, progress: &mut Progress, patience: Duration) -> bool {
        let (moved, now) = (connection.arrivals.progress(), Instant::now());
        if progress.fault.is_some() {
            let has_moved = progress.moved.is_none_or(|(before, _)| before != moved);
            progress.moved = Some((moved, now));
            return has_moved;
        }
        if connection.reads_pipe() {
            if !progress.waits_for_data {
                let (camera, uri) = (&self.settings.id, &self.settings.uri);
                tracing::info!(%camera, %uri, waited_ms = patience.as_millis() as u64, "no data from the named pipe; waiting for its writer");
            }
            progress.waits_for_data = true;
            progress.moved = None;
            return true;
        }
        let (before, since) = *progress.moved.get_or_insert((moved, now));
        if before != moved {
            progress.moved = Some((moved, now));
        }
        // decodebin loses an error that a demuxer posts while it is being linked. No streaming thread runs after
        // that.
        before != moved || (since.elapsed() + patience < FILE_STALL && connection.is_streaming())
    }

    fn deliver_rest(&mut self, connection: &Connection, progress: &mut Progress) {
        for decoded in connection.decoded_frames.frames.try_iter() {
            self.deliver(decoded, progress);
        }
    }

    fn deliver(&mut self, mut decoded: DecodedFrame, progress: &mut Progress) {
        progress.flowed(decoded.decoded_at);
        if !self.settings.uri.is_live() {
            // The decoder of a file runs ahead of the worker. The time that a frame has waited does not count as its
            // age.
            decoded.decoded_at = Instant::now();
            decoded.arrived_at = decoded.decoded_at;
        }
        let Stamp { session, seq, captured_at, clock } = decoded.stamp;
        if progress.reported != Some((session, clock)) {
            progress.reported = Some((session, clock));
            self.report_running(session, clock);
        }
        let fitted = match self.preprocessor.fit(&decoded.sample, decoded.orientation) {
            Ok(fitted) => fitted,
            Err(error) => {
                tracing::debug!(camera = %self.settings.id, seq, %error, "a frame could not be converted");
                return decoded.ticket.dropped(DropCause::Convert);
            }
        };
        // A camera's own clock may be stepped during the connection, and a file may be read at any speed.
        let paced_by = match clock {
            Clock::File => since_epoch(captured_at),
            Clock::Rtcp | Clock::Arrival => process_time(decoded.decoded_at),
        };
        let snapshots = self.snapshots.as_ref();
        let (snapshot, canvas) = snapshots.and_then(|snapshots| snapshots.due(paced_by)).unzip();
        let pts = decoded.sample.buffer().and_then(gstreamer::BufferRef::pts);
        let header = FrameHeader {
            camera: self.settings.id.clone(),
            session,
            seq,
            pts_ns: pts.map(gstreamer::ClockTime::nseconds),
            captured_at,
            clock,
            source: fitted.source,
            placement: fitted.placement,
            keep: Arc::clone(self.keep),
            live: self.settings.uri.is_live(),
            arrived_at: decoded.arrived_at,
            decoded_at: decoded.decoded_at,
            ready_at: Instant::now(),
        };
        let Some(ticket) = self.with_permit(decoded.ticket) else { return };
        self.outlet.intake.push(Frame { header, ticket, pixels: fitted.pixels, snapshot }, &self.outlet.stop);
        if let Some((snapshots, canvas)) = self.snapshots.as_mut().zip(canvas) {
            snapshots.draw(canvas, &decoded.sample, decoded.orientation, fitted.source);
        }
    }

    /// Attaches a permit to the ticket. Returns None if the camera was stopped while waiting for one.
    fn with_permit(&self, ticket: Ticket) -> Option<Ticket> {
        let Some(permits) = &self.outlet.permits else { return Some(ticket) };
        loop {
            let permit: Option<Permit> = permits.acquire(STOP_POLL);
            if let Some(permit) = permit {
                return Some(ticket.with_permit(permit));
            }
            if self.outlet.stop.is_stopped() {
                ticket.dropped(DropCause::Shutdown);
                return None;
            }
        }
    }

    fn report_running(&self, session: SessionId, clock: Clock) {
        let report = CameraReport {
            camera: self.settings.id.clone(),
            status: CameraStatus::Running,
            session: Some(session),
            clock: Some(clock),
            retry: None,
            detail: None,
        };
        self.outlet.report(report);
    }

    /// Warns once that no key frame has arrived. Returns a fault when the time limit for one has passed.
    fn without_key_frame(&self, connection: &Connection, progress: &mut Progress) -> Option<Fault> {
        let CameraSettings { id, uri, connect_timeout, .. } = self.settings;
        let waited = progress.opened.elapsed();
        if !uri.is_live() || waited < *connect_timeout {
            return None;
        }
        let fault = Fault::no_key_frame(uri, connection.decoded_frames.counts.undecodable(), Some(waited));
        if waited >= *connect_timeout * KEY_FRAME_PATIENCE {
            return Some(fault);
        }
        if !progress.logged_no_key_frame {
            progress.logged_no_key_frame = true;
            tracing::warn!(camera = %id, reason = fault.reason.as_str(), detail = fault.detail, "waiting for a key frame");
            let report = CameraReport {
                camera: id.clone(),
                status: CameraStatus::Connecting,
                session: Some(self.stamper.session()),
                clock: None,
                retry: Some(fault.reason),
                detail: Some(fault.detail),
            };
            self.outlet.report(report);
        }
        None
    }
}

/// Decides whether the GPU decoder of `connection`, which has ended with `end`, failed.
fn judge(connection: &Connection, progress: &Progress, end: &SessionEnd) -> Verdict {
    if *end == SessionEnd::Stopped {
        return Verdict::Fine;
    }
    let (counts, packets) = (&connection.decoded_frames.counts, connection.arrivals.packets());
    // Frames that were withheld from the decoder, or that it marked as corrupt.
    let undecodable = counts.undecodable();
    let frames = counts.frames().saturating_sub(undecodable);
    let answered = if frames == 0 { undecodable } else { progress.answered };
    connection.decoders.judge(&Evidence {
        is_silent: progress.is_silent || (*end == SessionEnd::Ended && frames == 0),
        frames,
        unanswered: packets.saturating_sub(answered),
        ..Evidence::default()
    })
}

impl Progress {
    fn flowed(&mut self, at: Instant) {
        let (first, _) = self.flow.unwrap_or((at, at));
        self.flow = Some((first, at));
    }
}
