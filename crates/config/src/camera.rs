//! `[[camera]]`: a camera, or a file that stands for one.

use std::{num::NonZeroUsize, path::Path, time::Duration};

use lookout_schema::{CameraId, CameraSpec, Region};

use crate::{SourceUri, reader::Section};

/// A camera.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraSettings {
    /// Camera id, the Kafka key of its records.
    pub id: CameraId,
    /// Address of the source.
    pub uri: SourceUri,
    /// Frames a second at most; the others are dropped.
    pub fps: Option<f64>,
    /// Begin a file again when it has ended.
    pub loop_file: bool,
    /// Frames per second of a file that does not say when its frames are to be shown.
    pub file_fps: f64,
    /// Where the video is decoded.
    pub decoder: DecoderChoice,
    /// Transport of the RTP packets of an RTSP camera.
    pub rtsp_transport: RtspTransport,
    /// Whether an `rtsps://` camera has to show a certificate that this machine trusts for its name. Most
    /// cameras come with one that they signed themselves.
    pub tls_verify: bool,
    /// Length of the RTSP jitter buffer.
    pub jitter_buffer: Duration,
    /// Time without a frame after which the camera is connected anew.
    pub stall_timeout: Duration,
    /// Time for the first frame of a connection to come.
    pub connect_timeout: Duration,
    /// Waits between reconnects.
    pub retry: RetrySettings,
    /// Frames that may wait for a batch.
    pub queue: NonZeroUsize,
    /// Detections are kept if the center of their box is in one of these regions of the image. Empty: no restriction.
    pub regions: Vec<Region>,
    /// Labels of the detections that are kept; all if there are none.
    pub classes: Vec<String>,
    /// Of two cameras the one with the lower priority is the first to be looked at less often; 0 to 100.
    pub priority: u8,
    /// Frames of a file that may be between its decoder and the broker's answer.
    pub window: NonZeroUsize,
}

/// What ffmpeg takes for raw streams as well.
const USUAL_FPS: f64 = 25.0;

/// Where a camera's video is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DecoderChoice {
    /// The default: on the GPU where GStreamer's nvcodec plugin offers a decoder and it works, on the CPU otherwise.
    #[default]
    Auto,
    /// On the CPU.
    Cpu,
    /// On the GPU only; a camera whose video cannot be decoded there has failed.
    Gpu,
}

/// How the RTP packets of an RTSP camera travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RtspTransport {
    /// Within the RTSP connection (RFC 2326, section 10.12).
    Tcp,
    /// Over UDP.
    Udp,
}

/// When a camera that failed is connected anew: after `first`, then half as long again each time up to
/// `max`, each wait shortened at random by up to a half. After a login that was refused the first wait is `login`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetrySettings {
    /// The first wait.
    pub first: Duration,
    /// The longest wait.
    pub max: Duration,
    /// First wait after the camera refused user name or password; doubles up to half an hour.
    pub login: Duration,
    /// Tries without a frame after which a camera is given up; none goes on for ever. A file is never
    /// tried again.
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
        let window = section.integer("window", 1..=100_000).unwrap_or(256) as usize;
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
            window: NonZeroUsize::new(window)?,
        })
    }
}
