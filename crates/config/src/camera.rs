//! `[[camera]]`: a camera, or a file that is used as one.

use std::{num::NonZeroUsize, path::Path, time::Duration};

use lookout_schema::{CameraId, CameraSpec, Region};

use crate::{SourceUri, reader::Section};

/// Settings of a camera.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraSettings {
    /// Camera id, the Kafka key of its records.
    pub id: CameraId,
    /// Address of the source.
    pub uri: SourceUri,
    /// Maximum frame rate in frames per second. Frames above it are dropped.
    pub fps: Option<f64>,
    /// Whether a file restarts when it ends.
    pub loop_file: bool,
    /// Frame rate of a file without timestamps.
    pub file_fps: f64,
    /// Whether the video is decoded on the CPU or the GPU.
    pub decoder: DecoderChoice,
    /// Transport of the RTP packets of an RTSP camera.
    pub rtsp_transport: RtspTransport,
    /// Whether an `rtsps://` camera must present a certificate that this machine trusts for the camera's host
    /// name. Most cameras are delivered with a self-signed certificate.
    pub tls_verify: bool,
    /// Length of the RTSP jitter buffer.
    pub jitter_buffer: Duration,
    /// Time without a frame after which the camera is reconnected.
    pub stall_timeout: Duration,
    /// Maximum time until the first frame of a connection.
    pub connect_timeout: Duration,
    /// Waits between reconnects.
    pub retry: RetrySettings,
    /// Maximum number of frames that wait for a batch.
    pub queue: NonZeroUsize,
    /// Only detections whose box center is in one of these regions are published. If empty, there is no
    /// restriction.
    pub regions: Vec<Region>,
    /// Labels of the detections that are published. If empty, all are published.
    pub classes: Vec<String>,
    /// 0 to 100. Load shedding skips frames of cameras with a low priority first.
    pub priority: u8,
    /// Maximum number of frames of a file between the decoder and the broker's acknowledgment.
    pub max_in_flight: NonZeroUsize,
}

/// Default of `file_fps`; ffmpeg assumes the same rate for raw streams.
const USUAL_FPS: f64 = 25.0;

/// Whether a camera's video is decoded on the CPU or the GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DecoderChoice {
    /// On the GPU if GStreamer's nvcodec plugin has a decoder for the stream and it works, otherwise on the
    /// CPU.
    #[default]
    Auto,
    /// On the CPU.
    Cpu,
    /// On the GPU only. A camera whose video cannot be decoded there fails.
    Gpu,
}

/// The transport of the RTP packets of an RTSP camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RtspTransport {
    /// Within the RTSP connection (RFC 2326, section 10.12).
    Tcp,
    /// Over UDP.
    Udp,
}

/// Back-off between the connection attempts of a camera. The first wait is `first`. Each further wait is 1.5
/// times as long, up to `max`, and each is randomly shortened by up to half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetrySettings {
    /// The first wait.
    pub first: Duration,
    /// The longest wait.
    pub max: Duration,
    /// First wait after the camera rejected the user name or password. It doubles up to half an hour.
    pub login: Duration,
    /// Number of consecutive attempts without a frame after which the camera fails permanently; `None` for no
    /// limit. Files are never retried.
    pub attempts: Option<u32>,
}

impl CameraSettings {
    pub(crate) fn read(section: &Section<'_, '_>, base: &Path) -> Option<Self> {
        let id = section.parsed("id");
        let uri = section.pieces("uri").map(|pieces| {
            SourceUri::from_pieces(pieces, base).map_err(|e| section.note("uri", e.to_string()))
        });
        let fps = section.number("fps", 0.01..=1000.0);
        let loop_file = section.boolean("loop");
        let file_fps = section.number("file_fps", 0.01..=1000.0);
        let decoders =
            [("auto", DecoderChoice::Auto), ("cpu", DecoderChoice::Cpu), ("gpu", DecoderChoice::Gpu)];
        let decoder = section.choice("decoder", &decoders);
        let transports = [("tcp", RtspTransport::Tcp), ("udp", RtspTransport::Udp)];
        let rtsp_transport = section.choice("transport", &transports);
        let jitter_buffer = section.millis("jitter_buffer_ms", 0..=60_000);
        let tls_verify = section.boolean("tls_verify");
        let stall_timeout = section.millis("stall_timeout_ms", 100..=3_600_000);
        let connect_timeout = section.millis("connect_timeout_ms", 100..=3_600_000);
        let first = section.millis("retry_first_ms", 10..=3_600_000).unwrap_or(Duration::from_millis(500));
        let max =
            section.millis("retry_max_ms", 10..=3_600_000).unwrap_or(Duration::from_secs(30).max(first));
        if max < first {
            section.note("retry_max_ms", "must not be less than `retry_first_ms`");
        }
        let login = section.millis("retry_login_ms", 10..=3_600_000);
        let attempts = section.integer("retry_attempts", 1..=1_000_000).map(|n| n as u32);
        let queue = section.integer("queue", 1..=1024).unwrap_or(4) as usize;
        let max_in_flight = section.integer("max_in_flight", 1..=100_000).unwrap_or(256) as usize;
        let regions = section.regions("regions").unwrap_or_default();
        let classes = section.texts("classes").unwrap_or_default();
        let highest = u64::from(CameraSpec::MAX_PRIORITY);
        let priority = section.integer("priority", 0..=highest).map_or(CameraSpec::PRIORITY, |n| n as u8);
        section.need("id", "`id` is required in [[camera]]");
        section.need("uri", "`uri` is required in [[camera]]");
        if let Some(Ok(uri)) = &uri {
            let is_rtsp = matches!(uri, SourceUri::Rtsp { .. });
            let is_rtsps = uri.is_encrypted();
            let is_file = !uri.is_live();
            let is_coded = !matches!(uri, SourceUri::Test(_));
            for (key, set, fits, what) in [
                ("loop", loop_file.is_some(), is_file, "files"),
                ("file_fps", file_fps.is_some(), is_file, "files"),
                ("decoder", decoder.is_some(), is_coded, "files, RTSP cameras and v4l2 devices"),
                ("transport", rtsp_transport.is_some(), is_rtsp, "RTSP cameras"),
                ("jitter_buffer_ms", jitter_buffer.is_some(), is_rtsp, "RTSP cameras"),
                ("tls_verify", tls_verify.is_some(), is_rtsps, "rtsps:// cameras"),
                ("retry_attempts", attempts.is_some(), !is_file, "live cameras"),
                ("retry_login_ms", login.is_some(), is_rtsp, "RTSP cameras"),
            ] {
                if set && !fits {
                    section.note(key, format!("`{key}` is for {what} only; remove it, or correct `uri`"));
                }
            }
            if is_rtsps && rtsp_transport == Some(RtspTransport::Udp) {
                section.note(
                    "transport",
                    "over UDP the video would not be encrypted, which `rtsps://` promises; remove this, since TCP is \
                     the default, or use `rtsp://` if encryption is not needed",
                );
            }
        }
        Some(Self {
            id: id?,
            uri: uri?.ok()?,
            fps,
            loop_file: loop_file.unwrap_or(false),
            file_fps: file_fps.unwrap_or(USUAL_FPS),
            decoder: decoder.unwrap_or_default(),
            rtsp_transport: rtsp_transport.unwrap_or(RtspTransport::Tcp),
            tls_verify: tls_verify.unwrap_or(true),
            jitter_buffer: jitter_buffer.unwrap_or(Duration::from_millis(200)),
            stall_timeout: stall_timeout.unwrap_or(Duration::from_secs(5)),
            connect_timeout: connect_timeout.unwrap_or(Duration::from_secs(10)),
            retry: RetrySettings { first, max, login: login.unwrap_or(Duration::from_secs(60)), attempts },
            regions,
            classes,
            priority,
            queue: NonZeroUsize::new(queue)?,
            max_in_flight: NonZeroUsize::new(max_in_flight)?,
        })
    }
}
