//! Faults for a source that delivers no frames and reports no error.

use std::time::Duration;

use lookout_config::{CameraSettings, RtspTransport};
use lookout_schema::RetryReason;

use crate::{Fault, pipeline::Connection, rtsp::Phase};

/// Returns the fault for a `connection` that has delivered no frame for `patience`.
pub(crate) fn fault(connection: &Connection, settings: &CameraSettings, patience: Duration) -> Fault {
    let (uri, ms) = (&settings.uri, patience.as_millis());
    let (arrivals, counts) = (&connection.arrivals, &connection.decoded_frames.counts);
    if counts.has_no_key_frame() {
        return Fault::no_key_frame(uri, counts.undecodable(), Some(patience));
    }
    let (reason, what) = match (counts.frames(), arrivals.packets(), arrivals.codec()) {
        (0, 0, None) if connection.phase() != Some(Phase::Frames) => {
            (RetryReason::Unreachable, nothing_came(connection.phase(), settings.rtsp_transport))
        }
        (0, ..) => (RetryReason::Undecodable, "data has arrived, but no frame could be decoded from it"),
        _ => (RetryReason::Stalled, "no frame has arrived"),
    };
    Fault::new(reason, format!("{uri}: {what} for {ms} ms"))
}

/// Describes a connection on which no packet has arrived, with advice for the user.
fn nothing_came(phase: Option<Phase>, transport: RtspTransport) -> &'static str {
    match phase {
        None => "no data has arrived from it",
        Some(Phase::Connecting) => {
            "the connection was not established; check that the camera is switched on, and that no firewall blocks it; \
             waited"
        }
        Some(Phase::Options | Phase::Describe | Phase::Setup | Phase::Play) => {
            "the camera accepted the connection, but did not answer; restart it, or raise `connect_timeout_ms` if it \
             is slow; waited"
        }
        Some(Phase::Packets) if transport == RtspTransport::Udp => {
            "the camera accepted PLAY, but no packet has arrived over UDP; a firewall may drop them, so try \
             `transport = \"tcp\"`; waited"
        }
        Some(Phase::Packets | Phase::Frames) => {
            "the camera accepted PLAY, but has sent no packet; restart it; waited"
        }
    }
}
