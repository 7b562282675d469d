//! The RTSP client.
//!
//! Control is done here, on a thread per connection: requests, login, redirects, keep-alives, and the packets'
//! way from the socket. Everything behind that is GStreamer's ([`feed`]). ARCHITECTURE.md says why it is not
//! `rtspsrc`, `rtspsrc2` or `retina`.
//!
//! ```text
//! camera ─ wire ─ message ─▶ dialog ─ splice ─▶ feed: rtpbin ─ decodebin ─ ...
//!           (TCP, TLS)     (requests) (one SSRC)
//! ```

mod address;
mod describe;
mod description;
mod dialog;
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

use self::{
    dialog::{Broken, Dialog},
    playback::play,
    refusal::Context,
};
pub(crate) use self::{feed::Feed, keep_alive::Habits};
use crate::Fault;

/// What a connection waits for, for the message when it waits in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    Connecting,
    Options,
    Describe,
    Setup,
    Play,
    /// For the first RTP packet.
    Packets,
    /// For a frame: packets have come.
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

/// The phase of a connection, shared with whoever watches it.
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

/// A connection to a camera, from its first request until it is dropped.
#[derive(Debug)]
pub(crate) struct Client {
    cancellable: gio::Cancellable,
    /// Wakes the thread when it is closed.
    wake: Option<PipeWriter>,
    thread: Option<JoinHandle<()>>,
    phase: Arc<SharedPhase>,
}

impl Client {
    /// Connects in the background. Packets go to `feed`, and what goes wrong to `tell`.
    ///
    /// # Errors
    /// The system has no thread or pipe left.
    pub(crate) fn start(
        settings: &CameraSettings,
        feed: Feed,
        habits: Arc<Habits>,
        tell: impl Fn(Fault) + Send + 'static,
    ) -> Result<Self, Fault> {
        let exhausted = |error: std::io::Error| {
            Fault::new(
                RetryReason::PipelineError,
                format!("{}: the connection cannot be made: {error}", settings.uri),
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
                    Err(Broken::Stopped) => return,
                    Err(broken) => return tell(broken.into_fault(&settings)),
                };
                match play(&mut dialog, &settings, &feed, &habits) {
                    Ok(()) => feed.end(),
                    Err(Broken::Stopped) => {}
                    Err(broken) => tell(dialog.fault(broken)),
                }
                dialog.tear_down();
            }
        };
        let thread = thread::Builder::new().name("rtsp".into()).spawn(run).map_err(exhausted)?;
        Ok(Self { cancellable, wake: Some(wake), thread: Some(thread), phase })
    }

    /// Makes the thread stop at its next step.
    pub(crate) fn stop(&mut self) -> Option<JoinHandle<()>> {
        self.cancellable.cancel();
        self.wake = None;
        self.thread.take()
    }

    /// What the connection waits for.
    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop();
    }
}
