//! The RTSP test server: serves many cameras, each of which repeats a clip, with RTCP sender reports, and injects
//! faults.

mod fault;
mod stream;

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Instant,
};

use gst::glib;
use gstreamer as gst;
use gstreamer_rtsp_server as server;
use server::prelude::*;

use self::stream::CameraStream;
pub use self::{
    fault::{Fault, FaultKind, InvalidFault},
    stream::{GroundTruthSink, OnFrame},
};
use crate::{Clip, SimError};

/// The cameras and faults of a test server.
#[derive(Debug, Default)]
pub struct RtspServerSettings {
    /// The clip of each camera; several may share one.
    pub cameras: Vec<Arc<Clip>>,
    /// The clip that each camera shows during a resolution fault.
    pub resized: Vec<Arc<Clip>>,
    pub faults: Vec<Fault>,
    /// Called for each frame when it is sent.
    pub truth: Option<GroundTruthSink>,
}

/// An RTSP test server that runs until it is dropped. Camera `n`, from 1, is `rtsp://ADDRESS/camera-n`.
pub struct RtspServer {
    address: SocketAddr,
    main_loop: glib::MainLoop,
    thread: Option<JoinHandle<()>>,
}

impl RtspServer {
    /// Starts the server on `address`.
    ///
    /// # Errors
    /// Returns an error if the address cannot be bound, or if GStreamer lacks its RTSP server.
    pub fn start(address: SocketAddr, settings: RtspServerSettings) -> Result<Self, SimError> {
        let failed = |reason: String| SimError::RtspServer { reason };
        gst::init().map_err(|error| failed(error.to_string()))?;
        let context = glib::MainContext::new();
        let main_loop = glib::MainLoop::new(Some(&context), false);
        let (ready, is_ready) = mpsc::channel();
        let running = main_loop.clone();
        let serve = move || {
            let _ = context.with_thread_default(|| match serve(address, &settings, &context) {
                Ok((server, source)) => {
                    let _ = ready.send(Ok(()));
                    running.run();
                    server.client_filter(Some(&mut |_, _| server::RTSPFilterResult::Remove));
                    source.destroy();
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            });
        };
        let thread = thread::Builder::new().name("farm".into()).spawn(serve);
        let thread = thread.map_err(|error| failed(error.to_string()))?;
        let farm = Self { address, main_loop, thread: Some(thread) };
        is_ready
            .recv()
            .unwrap_or_else(|_| Err("the thread of the server has ended".into()))
            .map_err(failed)?;
        Ok(farm)
    }

    /// Returns the address of camera `n`, from 1.
    pub fn uri(&self, n: usize) -> String {
        format!("rtsp://{}/camera-{n}", self.address)
    }
}

impl Drop for RtspServer {
    fn drop(&mut self) {
        self.main_loop.quit();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was already reported.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for RtspServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RtspServer").field("address", &self.address).finish_non_exhaustive()
    }
}

fn serve(
    address: SocketAddr,
    settings: &RtspServerSettings,
    context: &glib::MainContext,
) -> Result<(server::RTSPServer, glib::Source), String> {
    let rtsp = server::RTSPServer::new();
    rtsp.set_address(&address.ip().to_string());
    rtsp.set_service(&address.port().to_string());
    let mounts = rtsp.mount_points().ok_or("the server has no mount points")?;
    let started = Instant::now();
    for (i, clip) in settings.cameras.iter().enumerate() {
        let shown = CameraStream {
            camera: i + 1,
            clip: Arc::clone(clip),
            resized: settings.resized.get(i).cloned(),
            faults: settings.faults.iter().copied().filter(|fault| fault.camera == i + 1).collect(),
            truth: settings.truth.clone(),
            started,
        };
        mounts.add_factory(&format!("/camera-{}", i + 1), stream::factory(Arc::new(shown)));
    }
    let source =
        rtsp.create_source(server::gio::Cancellable::NONE).map_err(|error| format!("{address}: {error}"))?;
    source.attach(Some(context));
    Ok((rtsp, source))
}
