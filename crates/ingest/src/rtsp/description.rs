//! Parses the answer to DESCRIBE, and selects the video stream in it.

use gstreamer as gst;
use gstreamer_sdp as sdp;

use super::{address, message::Response};

/// The selected video stream.
#[derive(Debug, Clone)]
pub(super) struct Track {
    /// The address for SETUP.
    pub(super) uri: String,
    /// The address for PLAY and TEARDOWN.
    pub(super) session_uri: String,
    /// Caps of the RTP packets by payload type. The selected payload type comes first.
    pub(super) formats: Vec<(u32, gst::Caps)>,
    pub(super) clock_rate: u32,
    /// `RTP/AVP` or `RTP/AVPF`.
    pub(super) profile: &'static str,
}

/// Why the answer to DESCRIBE has no usable video stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoTrack {
    /// The answer is not an SDP session description. Holds its first characters.
    NotSdp(String),
    /// There is no video. Holds the other media, such as `audio (PCMU)`.
    NoVideo(Vec<String>),
    /// There is video, and the installed GStreamer has no depayloader for it. Holds the encodings.
    Unknown(Vec<String>),
    /// The video is sent over SRTP.
    Encrypted,
}

impl Track {
    /// Selects the first video stream that GStreamer can depayload from the answer to a DESCRIBE of `asked`.
    pub(super) fn choose(response: &Response, asked: &str) -> Result<Self, NoTrack> {
        let not_sdp = || {
            let start: String = String::from_utf8_lossy(&response.body).chars().take(40).collect();
            NoTrack::NotSdp(start.split_whitespace().collect::<Vec<_>>().join(" "))
        };
        // Names in Latin-1 are not valid UTF-8.
        let text = String::from_utf8_lossy(&response.body);
        let message = sdp::SDPMessage::parse_buffer(text.as_bytes()).map_err(|_| not_sdp())?;
        let base = base(response, asked);
        // Cameras disagree on the meaning of a relative session control, so only an absolute one is used.
        let session_control =
            message.attribute_val("control").filter(|control| address::is_absolute(control));
        let session_uri = address::control(&base, session_control);
        let medias: Vec<_> = (0..message.medias_len()).filter_map(|n| message.media(n)).collect();
        if medias.is_empty() {
            return Err(not_sdp());
        }
        let (mut others, mut unknown, mut encrypted) = (Vec::new(), Vec::new(), false);
        for media in &medias {
            let formats = formats(&message, media);
            let names: Vec<_> = formats.iter().map(|(_, caps)| encoding(caps)).collect();
            if media.media() != Some("video") {
                let kind = media.media().unwrap_or("unknown");
                others.push(if names.is_empty() {
                    kind.into()
                } else {
                    format!("{kind} ({})", names.join(", "))
                });
                continue;
            }
            let Some(known) = formats.iter().find(|(_, caps)| is_known(caps)) else {
                unknown.extend(if names.is_empty() { vec!["an unnamed encoding".into()] } else { names });
                continue;
            };
            let profile = match media.proto() {
                Some(proto) if proto.starts_with("RTP/SAVP") && media.attribute_val("crypto").is_some() => {
                    encrypted = true;
                    continue;
                }
                Some("RTP/AVPF") => "RTP/AVPF",
                _ => "RTP/AVP",
            };
            let rate = known.1.structure(0).and_then(|s| s.get::<i32>("clock-rate").ok()).unwrap_or(90_000);
            return Ok(Self {
                uri: address::control(&session_uri, media.attribute_val("control")),
                session_uri,
                clock_rate: u32::try_from(rate).ok().filter(|rate| *rate > 0).unwrap_or(90_000),
                // The selected payload type comes first. The stream may also contain the others.
                formats: std::iter::once(known.clone())
                    .chain(formats.iter().filter(|(pt, _)| *pt != known.0).cloned())
                    .collect(),
                profile,
            });
        }
        match (encrypted, unknown.is_empty()) {
            (true, _) => Err(NoTrack::Encrypted),
            (_, false) => Err(NoTrack::Unknown(unknown)),
            _ => Err(NoTrack::NoVideo(others)),
        }
    }
}

/// Returns the base of the description's relative addresses.
fn base(response: &Response, asked: &str) -> String {
    let stated = [response.header("Content-Base"), response.header("Content-Location")];
    // Some cameras send an empty base, or one without a scheme.
    let stated = stated.into_iter().flatten().map(str::trim).find(|base| address::is_absolute(base));
    stated.unwrap_or(asked).to_owned()
}

/// Returns the caps of each payload type of `media`.
fn formats(message: &sdp::SDPMessage, media: &sdp::SDPMediaRef) -> Vec<(u32, gst::Caps)> {
    let payload_types = (0..media.formats_len()).filter_map(|n| media.format(n)?.trim().parse::<u32>().ok());
    let caps_of = |pt: u32| {
        let mut caps = media.caps_from_media(i32::try_from(pt).ok()?)?;
        let writable = caps.make_mut();
        writable.structure_mut(0)?.set_name("application/x-rtp");
        let _ = message.attributes_to_caps(writable);
        let _ = media.attributes_to_caps(writable);
        Some((pt, caps))
    };
    payload_types.filter_map(caps_of).collect()
}

fn encoding(caps: &gst::Caps) -> String {
    let name = caps.structure(0).and_then(|s| s.get::<String>("encoding-name").ok());
    name.unwrap_or_else(|| "unknown".into())
}

/// Returns whether GStreamer has a depayloader for packets with `caps`.
fn is_known(caps: &gst::Caps) -> bool {
    let depayloaders =
        gst::ElementFactory::factories_with_type(gst::ElementFactoryType::DEPAYLOADER, gst::Rank::MARGINAL);
    depayloaders.iter().any(|factory| factory.can_sink_any_caps(caps))
}

#[cfg(test)]
mod tests {
    use super::{
        super::message::{Inbox, Item},
        *,
    };

    const H264: &str = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n";
    const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=cam\r\nt=0 0\r\n";

    fn choose(headers: &str, body: &str) -> Result<Track, NoTrack> {
        gst::init().unwrap();
        let length = body.len();
        let mut inbox = Inbox::default();
        inbox.push(format!("RTSP/1.0 200 OK\r\n{headers}Content-Length: {length}\r\n\r\n{body}").as_bytes());
        let Some(Item::Response(response)) = inbox.next().unwrap() else { panic!("{body}") };
        Track::choose(&response, "rtsp://cam/live")
    }

    #[test]
    fn chooses_the_video_among_other_media() {
        let onvif =
            "m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\na=control:meta\r\n";
        let strange = "m=video 0 RTP/AVP 99\r\na=rtpmap:99 X-META/90000\r\na=control:strange\r\n";
        let body = format!("{HEAD}a=control:*\r\n{onvif}{strange}{H264}a=control:track1\r\n");
        let track = choose("Content-Base: rtsp://cam/live/\r\n", &body).unwrap();
        assert_eq!(
            (track.uri.as_str(), track.session_uri.as_str()),
            ("rtsp://cam/live/track1", "rtsp://cam/live/")
        );
        assert_eq!((track.formats[0].0, track.clock_rate, track.profile), (96, 90_000, "RTP/AVP"));
    }

    #[test]
    fn track_addresses_follow_content_base_and_control_attributes() {
        let cases = [
            ("", "", "a=control:track1\r\n", "rtsp://cam/live/track1", "rtsp://cam/live"),
            ("Content-Base: \r\n", "", "", "rtsp://cam/live", "rtsp://cam/live"),
            (
                "Content-Base: cam/live/\r\n",
                "a=control:*\r\n",
                "a=control:t\r\n",
                "rtsp://cam/live/t",
                "rtsp://cam/live",
            ),
            (
                "Content-Base: rtsp://other/\r\n",
                "a=control:rtsp://third/in/\r\n",
                "a=control:rtsp://third/in/t\r\n",
                "rtsp://third/in/t",
                "rtsp://third/in/",
            ),
        ];
        for (headers, session, stream, uri, session_uri) in cases {
            let track = choose(headers, &format!("{HEAD}{session}{H264}{stream}")).unwrap();
            assert_eq!((track.uri.as_str(), track.session_uri.as_str()), (uri, session_uri));
        }
    }

    #[test]
    fn reports_which_media_are_offered_instead_of_video() {
        let sound = format!("{HEAD}m=audio 0 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n");
        assert_eq!(choose("", &sound).unwrap_err(), NoTrack::NoVideo(vec!["audio (PCMU)".into()]));
        let strange = format!("{HEAD}m=video 0 RTP/AVP 99\r\na=rtpmap:99 SVAC/90000\r\n");
        assert_eq!(choose("", &strange).unwrap_err(), NoTrack::Unknown(vec!["SVAC".into()]));
        assert_eq!(
            choose("", "<html>login</html>").unwrap_err(),
            NoTrack::NotSdp("<html>login</html>".into())
        );
        assert_eq!(choose("", "").unwrap_err(), NoTrack::NotSdp(String::new()));
    }
}
