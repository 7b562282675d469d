//! One connection to a camera, from its first frame to its last.

use std::{
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::select;
use lookout_config::CameraSettings;
use lookout_schema::{CameraStatus, Clock, DropCause, RetryReason, SessionId};
use lookout_stage::{CameraReport, Frame, FrameHeader, Keep, Permit, SourceOutlet, Ticket, WhenFull};

use crate::{
    Fault,
    capture::CaptureClock,
    fitter::Fitter,
    pipeline::{Connection, Event, LeftBehind},
    snapshots::Snapshots,
    tap::{Decoded, TapSettings, process_time},
};

/// A connection that is being set up or runs.
pub(crate) struct Session<'a> {
    pub(crate) settings: &'a CameraSettings,
    pub(crate) outlet: &'a SourceOutlet,
    pub(crate) id: SessionId,
    pub(crate) fitter: &'a mut Fitter,
    pub(crate) capture: CaptureClock,
    /// The network looks at every so many frames.
    pub(crate) every: NonZeroU32,
    pub(crate) keep: &'a Arc<Keep>,
    pub(crate) snapshots: Option<&'a mut Snapshots>,
    pub(crate) left_behind: &'a LeftBehind,
}

/// How a connection went.
#[derive(Debug)]
pub(crate) struct SessionOutcome {
    pub(crate) end: SessionEnd,
    /// Frames that left the decoder.
    pub(crate) frames: u64,
    /// Packets that went into the decoder.
    pub(crate) packets: u64,
    /// From the first frame to the last; none where there was no frame.
    pub(crate) flowed: Option<Duration>,
    pub(crate) capture: CaptureClock,
}

impl SessionOutcome {
    /// Packets of which no frame came; meaningful once the stream has ended.
    pub(crate) fn lost(&self) -> u64 {
        self.packets.saturating_sub(self.frames)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SessionEnd {
    /// The stream has ended.
    Ended,
    Fault(Fault),
    Stopped,
}

/// How long the frames that are still in a file's decoder may take after its reader has failed.
const AFTER_FAULT: Duration = Duration::from_secs(2);

/// How often a source that waits for a permit looks whether it is to stop.
const STOP_POLL: Duration = Duration::from_millis(50);

/// What the session has seen so far.
#[derive(Debug, Default)]
struct Progress {
    /// Frames that had left the decoder when it was last looked at.
    seen: u64,
    flow: Option<(Instant, Instant)>,
    clock: Option<Clock>,
    fault: Option<Fault>,
}

impl Session<'_> {
    /// Connects and delivers frames until the connection is over.
    pub(crate) fn run(mut self) -> SessionOutcome {
        let live = self.settings.uri.is_live();
        let tapped = TapSettings {
            ledger: self.outlet.ledger.clone(),
            session: self.id,
            fps: self.settings.fps,
            every: self.every,
            thinning: self.outlet.thinning.clone(),
            when_full: if live { WhenFull::DropOldest } else { WhenFull::Block },
        };
        let connection = match Connection::open(self.settings, tapped, self.left_behind, &self.outlet.stop) {
            Ok(connection) => connection,
            Err(fault) => {
                let stopped = self.outlet.stop.is_stopped();
                return SessionOutcome {
                    end: if stopped { SessionEnd::Stopped } else { SessionEnd::Fault(fault) },
                    frames: 0,
                    packets: 0,
                    flowed: None,
                    capture: self.capture,
                };
            }
        };
        let mut progress = Progress::default();
        let end = self.follow(&connection, &mut progress);
        let (frames, packets) = (connection.tap.counts.frames(), connection.arrivals.packets());
        let flowed = progress.flow.map(|(first, last)| last.saturating_duration_since(first));
        SessionOutcome { end, frames, packets, flowed, capture: self.capture }
    }

    fn follow(&mut self, connection: &Connection, progress: &mut Progress) -> SessionEnd {
        let live = self.settings.uri.is_live();
        // Only the time spent here, waiting for the camera, is the camera's silence.
        let mut quiet_since = Instant::now();
        loop {
            let patience = match &progress.fault {
                Some(_) => AFTER_FAULT,
                None if progress.seen == 0 => self.settings.connect_timeout,
                None => self.settings.stall_timeout,
            };
            select! {
                recv(connection.tap.frames) -> decoded => {
                    if let Ok(decoded) = decoded {
                        self.deliver(decoded, progress);
                    }
                    progress.seen = connection.tap.counts.frames();
                    quiet_since = Instant::now();
                }
                recv(connection.events) -> event => match event {
                    Ok(Event::Fault(fault)) if !live => {
                        if connection.arrivals.codec().is_none() && connection.tap.counts.frames() == 0 {
                            return SessionEnd::Fault(fault);
                        }
                        // What was read before the fault is still on its way through the decoder.
                        progress.fault.get_or_insert(fault);
                        quiet_since = Instant::now();
                    }
                    Ok(Event::Fault(fault)) => {
                        self.deliver_rest(connection, progress);
                        return SessionEnd::Fault(fault);
                    }
                    Ok(Event::End) | Err(_) => {
                        self.deliver_rest(connection, progress);
                        return progress.fault.take().map_or(SessionEnd::Ended, SessionEnd::Fault);
                    }
                },
                recv(self.outlet.stop.channel()) -> _ => return SessionEnd::Stopped,
                default(patience.saturating_sub(quiet_since.elapsed())) => {
                    let seen = connection.tap.counts.frames();
                    if seen == progress.seen {
                        let fault = progress.fault.take();
                        return SessionEnd::Fault(fault.unwrap_or_else(|| self.silent(connection, patience)));
                    }
                    // Frames came that the rate limit left out.
                    progress.seen = seen;
                    progress.flowed(Instant::now());
                    quiet_since = Instant::now();
                }
            }
            if self.outlet.stop.is_stopped() {
                return SessionEnd::Stopped;
            }
        }
    }

    fn deliver_rest(&mut self, connection: &Connection, progress: &mut Progress) {
        for decoded in connection.tap.frames.try_iter() {
            self.deliver(decoded, progress);
        }
    }

    fn deliver(&mut self, mut decoded: Decoded, progress: &mut Progress) {
        progress.flowed(decoded.decoded_at);
        if !self.settings.uri.is_live() {
            // A file is read when there is room: that its decoder was ahead made the frame no older.
            decoded.decoded_at = Instant::now();
            decoded.arrived_at = decoded.decoded_at;
        }
        let (captured_at, clock) = self.capture.read(&decoded.sample, decoded.arrived_at);
        if progress.clock != Some(clock) {
            progress.clock = Some(clock);
            self.report_running(clock);
        }
        let fitted = match self.fitter.fit(&decoded.sample, decoded.orientation) {
            Ok(fitted) => fitted,
            Err(error) => {
                tracing::debug!(camera = %self.settings.id, seq = decoded.seq, %error, "a frame was not converted");
                return decoded.ticket.dropped(DropCause::Convert);
            }
        };
        // A camera's own clock may be set while it runs; a file is read at any speed.
        let paced_by = match clock {
            Clock::File => Duration::from_micros(u64::try_from(captured_at.as_unix_us()).unwrap_or(0)),
            Clock::Rtcp | Clock::Arrival => process_time(decoded.decoded_at),
        };
        let snapshots = self.snapshots.as_ref();
        let (snapshot, canvas) = snapshots.and_then(|snapshots| snapshots.due(paced_by)).unzip();
        let pts = decoded.sample.buffer().and_then(gstreamer::BufferRef::pts);
        let header = FrameHeader {
            camera: self.settings.id.clone(),
            session: self.id,
            seq: decoded.seq,
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

    /// The ticket with leave to enter the worker; none where the camera was stopped first.
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

    fn report_running(&self, clock: Clock) {
        let report = CameraReport {
            camera: self.settings.id.clone(),
            status: CameraStatus::Running,
            session: Some(self.id),
            clock: Some(clock),
            retry: None,
            detail: None,
        };
        crate::camera::send(self.outlet, report);
    }

    fn silent(&self, connection: &Connection, patience: Duration) -> Fault {
        let (uri, ms) = (&self.settings.uri, patience.as_millis());
        let arrivals = &connection.arrivals;
        let (reason, what) = match (connection.tap.counts.frames(), arrivals.packets(), arrivals.codec()) {
            (0, 0, None) => (RetryReason::Unreachable, "nothing has come from it"),
            (0, 1.., _) => {
                (RetryReason::Undecodable, "its data came, and no picture could be decoded from it")
            }
            _ => (RetryReason::Stalled, "no frame has come"),
        };
        Fault::new(reason, format!("{uri}: {what} for {ms} ms"))
    }
}

impl Progress {
    fn flowed(&mut self, at: Instant) {
        let (first, _) = self.flow.unwrap_or((at, at));
        self.flow = Some((first, at));
    }
}
