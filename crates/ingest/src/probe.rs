//! Connects to a camera once, to report what it sends or what is wrong with it.

use std::{
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{RecvTimeoutError, select};
use gstreamer_video as video;
use lookout_config::{CameraSettings, SourceUri};
use lookout_schema::{RetryReason, SessionId, Size};
use lookout_stage::{CameraLedger, FrameSkip, WhenFull, stop_signal};

use crate::{
    Fault,
    appsink::{AppsinkSettings, DecodedFrame},
    capture::{CaptureClock, LiveClock},
    crop::displayed_size,
    file, init,
    nvcodec::{self, CameraDecoders},
    pipeline::{Connection, Event, Kept, LeftBehind},
    rtp_time::RtpTime,
    silence,
    stamp::Stamper,
};

/// The format of a camera's video.
#[derive(Debug, Clone, PartialEq)]
pub struct Probed {
    /// The codec's name, such as `H.264` or `MPEG-4`; `raw` for uncompressed video.
    pub codec: String,
    /// The size of the displayed frames.
    pub size: Size,
    /// Frames per second, as the stream states or as measured. None if the stream states no rate and too few frames
    /// arrived.
    pub fps: Option<f64>,
}

/// Connects to a camera and returns the format of its first frames.
///
/// Blocks for at most `timeout`.
///
/// # Errors
/// The fault of the camera, as its status record would report it.
pub fn probe(settings: &CameraSettings, timeout: Duration) -> Result<Probed, Fault> {
    init()?;
    nvcodec::check(settings)?;
    if let SourceUri::File(path) = &settings.uri {
        file::check(path)?;
    }
    let deadline = Instant::now() + timeout;
    // The probe does not use capture times.
    let clock = CaptureClock::Live(LiveClock::new(RtpTime::new(settings.id.clone())));
    let appsink_settings = AppsinkSettings {
        ledger: CameraLedger::new(settings.id.clone()),
        stamper: Arc::new(Stamper::new(SessionId::generate(), clock)),
        fps: None,
        every: NonZeroU32::MIN,
        frame_skip: FrameSkip::default(),
        when_full: WhenFull::Block,
        queue: settings.queue,
    };
    let (_never_stopped, stop) = stop_signal();
    let kept = Kept {
        rtp_time: None,
        left_behind: &LeftBehind::default(),
        habits: &Arc::default(),
        decoders: &CameraDecoders::new(settings, None, None),
    };
    let connection = Connection::open(settings, appsink_settings, kept, &stop)?;
    let (info, size, first) = loop {
        let counts = &connection.decoded_frames.counts;
        let silent = || silence::fault(&connection, settings, timeout);
        let decoded = select! {
            recv(connection.decoded_frames.frames) -> decoded => decoded.map_err(|_| silent())?,
            recv(connection.events) -> event => match event {
                Ok(Event::Fault(fault)) => return Err(fault),
                Ok(Event::End) if !connection.decoded_frames.frames.is_empty() => continue,
                Ok(Event::End) | Err(_) if counts.has_no_key_frame() => {
                    return Err(Fault::no_key_frame(&settings.uri, counts.undecodable(), None));
                }
                Ok(Event::End) | Err(_) => {
                    let detail = format!("{}: the stream ended without a frame", settings.uri);
                    return Err(Fault::new(RetryReason::Undecodable, detail));
                }
            },
            default(deadline.saturating_duration_since(Instant::now())) => return Err(silent()),
        };
        if let Some(info) = decoded.sample.caps().and_then(|caps| video::VideoInfo::from_caps(caps).ok()) {
            let size = displayed_size(&info, decoded.orientation);
            break (info, size, pts(&decoded));
        }
    };
    let stated = info.fps();
    let fps = if stated.numer() > 0 {
        Some(f64::from(stated.numer()) / f64::from(stated.denom()))
    } else {
        measure(&connection, first, deadline)
    };
    Ok(Probed {
        codec: connection.arrivals.codec().map_or_else(|| "raw".into(), |media_type| codec_name(&media_type)),
        size,
        fps,
    })
}

/// The number of frame intervals over which the rate is measured.
const MEASURED: u32 = 10;

fn measure(connection: &Connection, first: Option<Duration>, deadline: Instant) -> Option<f64> {
    let (first, mut latest, mut frames) = (first?, Duration::ZERO, 0);
    while frames < MEASURED {
        match connection.decoded_frames.frames.recv_deadline(deadline) {
            Ok(decoded) => latest = latest.max(pts(&decoded)?),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
        frames += 1;
    }
    let took = latest.checked_sub(first).filter(|took| !took.is_zero())?;
    Some(f64::from(frames) / took.as_secs_f64())
}

fn pts(decoded: &DecodedFrame) -> Option<Duration> {
    decoded.sample.buffer()?.pts().map(|pts| Duration::from_nanos(pts.nseconds()))
}

/// Returns the common name of a GStreamer media type.
fn codec_name(media_type: &str) -> String {
    let name = match media_type {
        "video/x-h264" => "H.264",
        "video/x-h265" => "H.265",
        "video/mpeg" => "MPEG",
        "video/x-divx" | "video/x-xvid" => "MPEG-4",
        "image/jpeg" => "JPEG",
        "video/x-vp8" => "VP8",
        "video/x-vp9" => "VP9",
        "video/x-av1" => "AV1",
        other => other.strip_prefix("video/x-").unwrap_or(other),
    };
    name.to_owned()
}
