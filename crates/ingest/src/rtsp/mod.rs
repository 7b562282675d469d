//! The RTSP client.
//!
//! This module implements the control connection, on one thread per camera connection: requests, authentication,
//! redirects and keep-alives. It also reads the RTP and RTCP packets from the sockets. GStreamer does everything
//! after that ([`feed`]). ARCHITECTURE.md gives the reasons against `rtspsrc`, `rtspsrc2` and `retina`.
//!
//! ```text
//! camera ─ wire ─ message ─▶ dialog ─ splice ─▶ feed: rtpbin ─ decodebin ─ ...
//!           (TCP, TLS)     (requests) (one SSRC)
//! ```

mod address;
mod describe;
mod description;
mod dialog;
mod dialog_error;
mod feed;
mod keep_alive;
mod login;
mod message;
mod playback;
mod refusal;
mod splice;
mod udp;
mod wire;

use std::{
    io::{PipeWriter, pipe},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
};

use gio::prelude::*;
use lookout_config::CameraSettings;
use lookout_schema::RetryReason;

use self::{dialog::Dialog, dialog_error::DialogError, playback::play, refusal::Context};
pub(crate) use self::{feed::Feed, keep_alive::Habits};
use crate::Fault;

/// What a connection currently waits for. The error message of a timeout depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    Connecting,
    Options,
    Describe,
    Setup,
    Play,
    /// Waits for the first RTP packet.
    Packets,
    /// RTP packets arrive; waits for the first frame.
    Frames,
}

impl Phase {
    const ALL: [Self; 7] = [
        Self::Connecting,
        Self::Options,
        Self::Describe,
        Self::Setup,
        Self::Play,
        Self::Packets,
        Self::Frames,
    ];
}

/// The phase of a connection, written by its thread and read by the camera's thread.
#[derive(Debug, Default)]
pub(crate) struct SharedPhase(AtomicU8);

impl SharedPhase {
    fn set(&self, phase: Phase) {
        self.0.store(phase as u8, Relaxed);
    }

    fn get(&self) -> Phase {
        Phase::ALL.get(usize::from(self.0.load(Relaxed))).copied().unwrap_or(Phase::Connecting)
    }
}

/// A connection to a camera, which lasts from the first request until this value is dropped.
#[derive(Debug)]
pub(crate) struct Client {
    cancellable: gio::Cancellable,
    /// Its closing wakes the thread from `poll`.
    wake: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
    phase: Arc<SharedPhase>,
}

impl Client {
    /// Starts a thread that connects to the camera.
    ///
    /// The thread passes RTP and RTCP packets to `feed`, and an error that ends the connection to `on_fault`.
    ///
    /// # Errors
    /// The system cannot create a pipe or a thread.
    pub(crate) fn start(
        settings: &CameraSettings,
        feed: Feed,
        habits: Arc<Habits>,
        on_fault: impl Fn(Fault) + Send + 'static,
    ) -> Result<Self, Fault> {
        let exhausted = |error: std::io::Error| {
            Fault::new(
                RetryReason::PipelineError,
                format!("{}: the connection cannot be set up: {error}", settings.uri),
            )
        };
        let cancellable = gio::Cancellable::new();
        let (wake_end, wake) = pipe().map_err(exhausted)?;
        let phase = Arc::new(SharedPhase::default());
        let context = Context { uri: settings.uri.clone(), transport: settings.rtsp_transport };
        let run = {
            let (settings, cancellable, phase) = (settings.clone(), cancellable.clone(), Arc::clone(&phase));
            move || {
                let mut dialog = match Dialog::new(&settings, context, cancellable, wake_end, phase) {
                    Ok(dialog) => dialog,
                    Err(DialogError::Stopped) => return,
                    Err(broken) => return on_fault(broken.into_fault(&settings)),
                };
                match play(&mut dialog, &settings, &feed, &habits) {
                    Ok(()) => feed.end(),
                    Err(DialogError::Stopped) => {}
                    Err(broken) => on_fault(dialog.fault(broken)),
                }
                dialog.tear_down();
            }
        };
        let thread = thread::Builder::new().name("rtsp".into()).spawn(run).map_err(exhausted)?;
        Ok(Self { cancellable, wake: Some(wake), thread: Some(thread), phase })
    }

    /// Asks the thread to stop, and returns its handle so that the caller can join it.
    pub(crate) fn stop(&mut self) -> Option<JoinHandle<()>> {
        self.cancellable.cancel();
        self.wake = None;
        self.thread.take()
    }

    /// Returns what the connection currently waits for.
    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop();
    }
}
