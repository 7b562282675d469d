//! Playback of a session, from SETUP to its last packet.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use lookout_config::{CameraSettings, RtspTransport};
use lookout_schema::RetryReason;

use super::{
    Phase,
    description::Track,
    dialog::{Dialog, Event, Media},
    dialog_error::DialogError,
    feed::Feed,
    keep_alive::{self, Habits, KeepAlive},
    message::Response,
    splice::Splice,
    udp::Ports,
};

/// How often the end of the stream and receiver reports are checked while no packet arrives.
const IDLE: Duration = Duration::from_millis(200);

/// Sets up and plays the stream, and passes its packets to `feed` until the camera ends the stream.
pub(super) fn play(
    dialog: &mut Dialog,
    settings: &CameraSettings,
    feed: &Feed,
    habits: &Habits,
) -> Result<(), DialogError> {
    let track = dialog.describe()?;
    feed.expect(&track.formats);
    let timeout = set_up(dialog, settings, &track)?;
    let mut stream = Stream { feed, splice: Splice::new(track.clock_rate), packets: 0 };
    start(dialog, &track, &mut stream)?;
    dialog.set_phase(if stream.packets > 0 { Phase::Frames } else { Phase::Packets });
    let now = Instant::now();
    let mut keep = KeepAlive::new(habits, timeout, dialog.lists("GET_PARAMETER"), now);
    loop {
        if stream.splice.is_over(Instant::now()) {
            return Ok(());
        }
        match step(dialog, &track, &mut stream, &mut keep) {
            Ok(()) => {}
            Err(broken @ (DialogError::Closed | DialogError::Failed(_))) => {
                keep.closed(Instant::now());
                let over_udp = matches!(dialog.media, Some(Media::Udp(_)));
                return match broken {
                    _ if over_udp && stream.packets > 0 => {
                        without_control(dialog, &track, &mut stream, keep, settings.stall_timeout / 2)
                    }
                    DialogError::Closed if stream.packets > 0 => Ok(()),
                    broken => Err(broken),
                };
            }
            Err(broken) => return Err(broken),
        }
    }
}

/// Sends receiver reports and keep-alives that are due, and handles the next event from the camera.
fn step(
    dialog: &mut Dialog,
    track: &Track,
    stream: &mut Stream<'_>,
    keep: &mut KeepAlive<'_>,
) -> Result<(), DialogError> {
    let now = Instant::now();
    for report in stream.feed.reports() {
        dialog.send_report(&report)?;
    }
    if let Some(method) = keep.take(now) {
        keep.sent(now);
        dialog.send(method, &track.session_uri, &[])?;
    }
    match dialog.next(keep.due().min(now + IDLE))? {
        Event::Media { rtcp, packet } => {
            stream.take(rtcp, packet);
            if stream.packets == 1 {
                dialog.set_phase(Phase::Frames);
            }
        }
        Event::Response(response) => {
            dialog.renew_login(&response);
            keep.answered(&response);
        }
        Event::Nothing => {}
    }
    Ok(())
}

/// The path of a session's RTP and RTCP packets to GStreamer.
struct Stream<'a> {
    feed: &'a Feed,
    splice: Splice,
    packets: u64,
}

impl Stream<'_> {
    fn take(&mut self, rtcp: bool, packet: Vec<u8>) {
        let now = Instant::now();
        if rtcp {
            self.splice.rtcp(&packet, now).into_iter().for_each(|packet| self.feed.rtcp(packet));
            return;
        }
        self.packets += 1;
        let packets = self.splice.rtp(packet, now);
        if let Some(report) = self.splice.early_report() {
            self.feed.rtcp(report);
        }
        packets.into_iter().for_each(|packet| self.feed.rtp(packet));
    }
}

/// Sends SETUP for the track, and returns the session's timeout.
fn set_up(
    dialog: &mut Dialog,
    settings: &CameraSettings,
    track: &Track,
) -> Result<Option<Duration>, DialogError> {
    dialog.set_phase(Phase::Setup);
    dialog.set_session_uri(&track.session_uri);
    let over_udp = settings.rtsp_transport == RtspTransport::Udp;
    // `lookout check` rejects this combination, but a redirect can also lead to it.
    if over_udp && dialog.is_encrypted() {
        let what = "the camera redirected to `rtsps://`, but media over UDP would not be encrypted; remove `transport`";
        return Err(dialog.context.fault(RetryReason::Unreachable, what).into());
    }
    let ports = if over_udp { Some(bind(dialog)?) } else { None };
    let transport = match &ports {
        Some((_, (rtp, rtcp), _)) => format!("{};unicast;client_port={rtp}-{rtcp}", track.profile),
        None => format!("{}/TCP;unicast;interleaved=0-1", track.profile),
    };
    let response = dialog.exchange("SETUP", &track.uri, &[("Transport", transport)])?;
    if !response.is_success() {
        return Err(dialog.context.refused("SETUP", &response).into());
    }
    let granted = Granted::read(response.header("Transport").unwrap_or_default());
    dialog.media = Some(match ports {
        None if granted.server_port.is_some() && granted.interleaved.is_none() => {
            let what =
                "the camera sends media over UDP although TCP was requested; set `transport = \"udp\"`";
            return Err(dialog.context.fault(RetryReason::Unreachable, what).into());
        }
        None => {
            let (rtp, rtcp) = granted.interleaved.unwrap_or((0, 1));
            Media::Interleaved { rtp, rtcp }
        }
        Some((ports, _, camera)) => {
            if let Some(server_port) = granted.server_port {
                ports.open(granted.source.unwrap_or(camera), server_port);
            }
            Media::Udp(ports)
        }
    });
    let (id, timeout) = response.header("Session").map(keep_alive::session).unzip();
    dialog.session = id.filter(|id| !id.is_empty());
    Ok(timeout.flatten())
}

/// Binds a pair of UDP ports at the local address of the control connection.
///
/// Returns the ports, their numbers and the camera's address.
fn bind(dialog: &Dialog) -> Result<(Ports, (u16, u16), IpAddr), DialogError> {
    let failed = |error: &dyn std::fmt::Display| {
        let what =
            format!("cannot open UDP ports for the media ({error}); check this machine's limits, or use TCP");
        DialogError::Fault(dialog.context.fault(RetryReason::PipelineError, &what))
    };
    let (camera, local) =
        dialog.addresses().ok_or_else(|| failed(&"the connection's addresses are unknown"))?;
    let ports = Ports::bind(local).map_err(|error| failed(&error))?;
    let numbers = ports.numbers().map_err(|error| failed(&error))?;
    Ok((ports, numbers, camera))
}

/// Sends PLAY. Passes on the packets that arrive before the response.
fn start(dialog: &mut Dialog, track: &Track, stream: &mut Stream<'_>) -> Result<(), DialogError> {
    dialog.set_phase(Phase::Play);
    let range = [("Range", "npt=0.000-".to_owned())];
    let mut response = dialog.exchange("PLAY", &track.session_uri, &range);
    // Some cameras reject a range (457), others an aggregate address (459).
    if matches!(&response, Ok(Response { code: 457, .. })) {
        response = dialog.exchange("PLAY", &track.session_uri, &[]);
    }
    if matches!(&response, Ok(Response { code: 459, .. })) {
        response = dialog.exchange("PLAY", &track.uri, &range);
    }
    let early = std::mem::take(&mut dialog.early);
    let flows = early.iter().any(|(rtcp, _)| !rtcp);
    early.into_iter().for_each(|(rtcp, packet)| stream.take(rtcp, packet));
    match response {
        Ok(response) if response.is_success() => Ok(()),
        Ok(response) => Err(dialog.context.refused("PLAY", &response).into()),
        // A camera that sends packets has accepted PLAY, even if it does not respond.
        Err(DialogError::Silent) if flows => Ok(()),
        Err(broken) => Err(broken),
    }
}

/// Continues a session over UDP without the control connection, which some cameras close.
///
/// Connects again for each keep-alive. The stream ends when no packet arrives for `patience`.
fn without_control(
    dialog: &mut Dialog,
    track: &Track,
    stream: &mut Stream<'_>,
    mut keep: KeepAlive<'_>,
    patience: Duration,
) -> Result<(), DialogError> {
    tracing::debug!(uri = %dialog.context.uri, "the camera closed the control connection, but still sends media");
    let mut last = Instant::now();
    loop {
        let now = Instant::now();
        // Without a control connection, a timeout is the only sign of the end.
        if stream.splice.is_over(now) || now.saturating_duration_since(last) > patience {
            return Ok(());
        }
        stream.feed.reports().try_for_each(|report| dialog.send_report(&report))?;
        if let Some(method) = keep.take(now)
            && dialog.reconnect().is_ok()
        {
            let _ = dialog.send(method, &track.session_uri, &[]);
        }
        if let Event::Media { rtcp, packet } = dialog.next_datagram(now + IDLE)? {
            last = Instant::now();
            stream.take(rtcp, packet);
        }
    }
}

/// The transport parameters that the camera grants in its `Transport` header.
#[derive(Debug, Default, PartialEq, Eq)]
struct Granted {
    interleaved: Option<(u8, u8)>,
    server_port: Option<(u16, u16)>,
    source: Option<IpAddr>,
}

impl Granted {
    fn read(header: &str) -> Self {
        let mut granted = Self::default();
        for (name, value) in header.split(';').filter_map(|part| part.split_once('=')) {
            match name.trim().to_ascii_lowercase().as_str() {
                "interleaved" => granted.interleaved = pair(value, |n: u8| n.checked_add(1)),
                "server_port" => granted.server_port = pair(value, |n: u16| n.checked_add(1)),
                "source" => granted.source = value.trim().trim_matches(['[', ']']).parse().ok(),
                _ => {}
            }
        }
        // A server behind a gateway may not know its own address.
        granted.source = granted.source.filter(|source| !source.is_unspecified());
        granted
    }
}

/// Parses a pair of numbers such as `4-5`. If the second number is missing, it is `next` of the first.
fn pair<T: Copy + std::str::FromStr>(text: &str, next: impl Fn(T) -> Option<T>) -> Option<(T, T)> {
    let (first, second) = text.split_once('-').unwrap_or((text, ""));
    let first = first.trim().parse().ok()?;
    Some((first, second.trim().parse().ok().or_else(|| next(first))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transport_headers_are_parsed() {
        let tcp = Granted::read("RTP/AVP/TCP;unicast;interleaved=4-5;ssrc=0000ABCD");
        assert_eq!(tcp.interleaved, Some((4, 5)));
        let udp = Granted::read("RTP/AVP;unicast;client_port=1-2;server_port=6970;source=192.0.2.1");
        assert_eq!((udp.server_port, udp.source), (Some((6970, 6971)), "192.0.2.1".parse().ok()));
        assert_eq!(Granted::read("RTP/AVP;source=0.0.0.0;interleaved=x"), Granted::default());
    }
}
