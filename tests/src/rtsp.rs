//! An RTSP server with one camera that fails on demand.

use std::{
    net::{Ipv4Addr, TcpListener},
    process::Command,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

use anyhow::{Context, ensure};
use gst::glib;
use gstreamer as gst;
use gstreamer_rtsp_server as server;
use server::prelude::*;
use tempfile::TempDir;

/// The content of the camera's stream and who may connect.
#[derive(Debug, Clone)]
pub struct RtspSettings {
    pub width: i32,
    pub height: i32,
    pub fps: i32,
    /// User name and password; without them, clients need no login.
    pub login: Option<(String, String)>,
    /// A file that is played once to each client, instead of the test pattern.
    pub file: Option<std::path::PathBuf>,
    /// Whether it serves `rtsps://` only, with a self-signed certificate.
    pub tls: bool,
    /// Frames after which the stream ends; -1 for none.
    pub frames: i32,
    /// Number of frames from one key frame to the next.
    pub gop: u32,
}

impl Default for RtspSettings {
    fn default() -> Self {
        Self { width: 320, height: 240, fps: 25, login: None, file: None, tls: false, frames: -1, gop: 12 }
    }
}

/// A camera on a port of its own, which it keeps over [`RtspServer::stop`] and [`RtspServer::restart`].
#[derive(Debug)]
pub struct RtspServer {
    settings: RtspSettings,
    port: u16,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    main_loop: glib::MainLoop,
    thread: JoinHandle<()>,
    shown: Shown,
}

/// Elements of the pipelines that are playing: those that set the frame size, and those that hold back the
/// stream.
#[derive(Debug, Clone, Default)]
struct Shown {
    shapes: Arc<Mutex<Vec<gst::Element>>>,
    gates: Arc<Mutex<Vec<gst::Element>>>,
}

impl RtspServer {
    /// Starts a camera on a free port.
    pub fn start(settings: RtspSettings) -> anyhow::Result<Self> {
        gst::init()?;
        // The port is still free when the server binds it a moment later, unless another process takes it in
        // between.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut server = Self { settings, port, running: None };
        server.restart()?;
        Ok(server)
    }

    /// The camera's address, without a login.
    pub fn uri(&self) -> String {
        let scheme = if self.settings.tls { "rtsps" } else { "rtsp" };
        format!("{scheme}://{}:{}/cam", Ipv4Addr::LOCALHOST, self.port)
    }

    /// The camera's address with a login.
    pub fn uri_with_login(&self, user: &str, password: &str) -> String {
        format!("rtsp://{user}:{password}@{}:{}/cam", Ipv4Addr::LOCALHOST, self.port)
    }

    /// Starts the camera again on the same port.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.stop()?;
        let (settings, port, shown) = (self.settings.clone(), self.port, Shown::default());
        let context = glib::MainContext::new();
        let main_loop = glib::MainLoop::new(Some(&context), false);
        let (ready, is_ready) = mpsc::channel();
        let thread = {
            let (main_loop, shown) = (main_loop.clone(), shown.clone());
            thread::Builder::new().name("rtsp-server".into()).spawn(move || {
                let _ = context.with_thread_default(|| match serve(&settings, port, &shown, &context) {
                    Ok((server, source)) => {
                        let _ = ready.send(Ok(()));
                        main_loop.run();
                        server.client_filter(Some(&mut |_, _| server::RTSPFilterResult::Remove));
                        source.destroy();
                    }
                    Err(error) => {
                        let _ = ready.send(Err(error));
                    }
                });
            })?
        };
        is_ready.recv()??;
        self.running = Some(Running { main_loop, thread, shown });
        Ok(())
    }

    /// Stops the server: its connections are closed, and new ones are refused.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let Some(Running { main_loop, thread, .. }) = self.running.take() else { return Ok(()) };
        main_loop.quit();
        thread.join().ok().context("the RTSP server's thread panicked")
    }

    /// Makes the camera send no frames while its connections stay open, or send them again.
    pub fn set_silent(&self, silent: bool) {
        let Some(running) = &self.running else { return };
        let gates = running.shown.gates.lock().unwrap_or_else(PoisonError::into_inner);
        for gate in gates.iter() {
            gate.set_property("drop", silent);
        }
    }

    /// Changes the frame size in mid-stream.
    pub fn set_size(&self, width: i32, height: i32) {
        let Some(running) = &self.running else { return };
        let shapes = running.shown.shapes.lock().unwrap_or_else(PoisonError::into_inner);
        for shape in shapes.iter() {
            shape.set_property("caps", shape_caps(width, height, self.settings.fps));
        }
    }
}

impl Drop for RtspServer {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

/// Returns a token that permits playback of the media of `factory`.
fn viewer(factory: &server::RTSPMediaFactory) -> server::RTSPToken {
    let role = gst::Structure::builder("viewer")
        .field("media.factory.access", true)
        .field("media.factory.construct", true)
        .build();
    factory.add_role_from_structure(&role);
    server::RTSPToken::builder().field("media.factory.role", "viewer").build()
}

fn self_signed() -> anyhow::Result<server::gio::TlsCertificate> {
    let folder = TempDir::new()?;
    let (key, certificate) = (folder.path().join("key.pem"), folder.path().join("certificate.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=camera"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()?;
    ensure!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));
    Ok(server::gio::TlsCertificate::from_files(&certificate, &key)?)
}

fn shape_caps(width: i32, height: i32, fps: i32) -> gst::Caps {
    gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field("width", width)
        .field("height", height)
        .field("framerate", gst::Fraction::new(fps, 1))
        .build()
}

fn serve(
    settings: &RtspSettings,
    port: u16,
    shown: &Shown,
    context: &glib::MainContext,
) -> anyhow::Result<(server::RTSPServer, glib::Source)> {
    let rtsp = server::RTSPServer::new();
    rtsp.set_address(&Ipv4Addr::LOCALHOST.to_string());
    rtsp.set_service(&port.to_string());
    let factory = server::RTSPMediaFactory::new();
    // A client of a file seeks to its start. With shared media that would flush the streams of the other
    // clients, and GStreamer aborts the process (`gst_rtsp_media_get_rates`) if one of them starts playback
    // between the flush and the new segment.
    factory.set_shared(settings.file.is_none());
    factory.set_launch(&launch(settings));
    if settings.tls {
        let auth = server::RTSPAuth::new();
        auth.set_tls_certificate(Some(&self_signed()?));
        // Every client is accepted; only the transport is encrypted.
        auth.set_default_token(Some(&mut viewer(&factory)));
        rtsp.set_auth(Some(&auth));
    }
    if let Some((user, password)) = &settings.login {
        let auth = server::RTSPAuth::new();
        auth.add_basic(&server::RTSPAuth::make_basic(user, password), &viewer(&factory));
        rtsp.set_auth(Some(&auth));
    }
    let shown = shown.clone();
    factory.connect_media_configure(move |_, media| {
        let Ok(bin) = media.element().downcast::<gst::Bin>() else { return };
        shown.shapes.lock().unwrap_or_else(PoisonError::into_inner).extend(bin.by_name("shape"));
        shown.gates.lock().unwrap_or_else(PoisonError::into_inner).extend(bin.by_name("gate"));
    });
    let mounts = rtsp.mount_points().context("an RTSP server without mount points")?;
    mounts.add_factory("/cam", factory);
    let source = rtsp.create_source(server::gio::Cancellable::NONE)?;
    source.attach(Some(context));
    Ok((rtsp, source))
}

fn launch(settings: &RtspSettings) -> String {
    let RtspSettings { width, height, fps, frames, gop, .. } = settings;
    // Key frames start with SPS and PPS, without an access unit delimiter, as those of most cameras do.
    let encode = format!(
        "x264enc tune=zerolatency speed-preset=ultrafast threads=1 aud=false key-int-max={gop} ! valve name=gate \
         ! rtph264pay name=pay0 pt=96 config-interval=-1"
    );
    match &settings.file {
        Some(path) => {
            format!("( filesrc location={} ! decodebin ! videoconvert ! {encode} )", path.display())
        }
        None => format!(
            "( videotestsrc is-live=true pattern=ball num-buffers={frames} ! capsfilter name=shape \
             caps=video/x-raw,format=I420,width={width},height={height},framerate={fps}/1 ! {encode} )"
        ),
    }
}
