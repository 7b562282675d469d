//! Converts a camera's error responses to faults that state what failed and what to do.

use std::time::Duration;

use lookout_config::{RtspTransport, SourceUri};
use lookout_schema::RetryReason;

use super::{
    Phase,
    address::{Address, BadRedirect},
    description::NoTrack,
    dialog_error::DialogError,
    login::Challenged,
    message::{Malformed, Response},
};
use crate::{Fault, fault::scrub};

/// The settings that error messages need.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub(super) uri: SourceUri,
    pub(super) transport: RtspTransport,
}

impl Context {
    pub(super) fn fault(&self, reason: RetryReason, what: &str) -> Fault {
        Fault::new(reason, format!("{}: {}", self.uri, scrub(&self.uri, what)))
    }

    /// Returns the fault for a response to `method` that reports an error.
    pub(super) fn refused(&self, method: &str, response: &Response) -> Fault {
        let (reason, advice) = self.advice(response);
        let status = status_line(response);
        self.fault(reason, &format!("the camera answered {method} with `{status}`; {advice}"))
    }

    fn advice(&self, response: &Response) -> (RetryReason, &'static str) {
        use RetryReason::{NotFound, Unauthorized, Unreachable};
        if response.version.starts_with("HTTP/") {
            return (
                Unreachable,
                "a web server listens on this port; set the RTSP port in `uri`, usually 554",
            );
        }
        let encrypted = self.uri.is_encrypted();
        match response.code {
            400 => (Unreachable, "it does not understand the request; check the path and the query in `uri`"),
            401 | 407 => (Unauthorized, "check the user name and the password in `uri`"),
            402 => (Unauthorized, "it requires a payment or a license; check its subscription"),
            403 => (
                Unauthorized,
                "the user may not view this stream, or the camera has blocked the account or this machine's \
                 address; check the user's rights and the list of blocked addresses in the camera",
            ),
            404 | 410 => (NotFound, "there is no such stream; check the path in `uri`"),
            405 | 501 => (
                Unreachable,
                "it does not serve a stream at this address; check the path in `uri`, and that RTSP is switched on",
            ),
            406 | 415 => (Unreachable, "it cannot describe this stream as SDP; check the path in `uri`"),
            408 => (Unreachable, "it is overloaded or the network is slow; check both"),
            451 | 551 => (Unreachable, "it lacks a feature of RTSP that is required; update its firmware"),
            453 => (
                Unreachable,
                "it has no bandwidth left; close other viewers, or use a stream with a lower bit rate",
            ),
            454 => {
                (Unreachable, "it has lost the session; it may be restarting, or limit the number of viewers")
            }
            455 => (
                Unreachable,
                "it is not ready for this stream; another viewer may use it, or it is restarting",
            ),
            461 if encrypted => (
                Unreachable,
                "it sends no media over TCP, and UDP would not be encrypted; enable TCP (interleaved RTP) in \
                 the camera, or use `rtsp://` with `transport = \"udp\"`",
            ),
            461 if self.transport == RtspTransport::Tcp => {
                (Unreachable, "it sends no media over TCP; set `transport = \"udp\"` for this camera")
            }
            461 => (Unreachable, "it sends no media over UDP; set `transport = \"tcp\"` for this camera"),
            300..400 => (Unreachable, "it redirects to no usable address; check the path in `uri`"),
            503 => (
                Unreachable,
                "it is busy or starting, or has its maximum number of viewers; close other viewers if this persists",
            ),
            505 => (Unreachable, "it does not speak RTSP 1.0"),
            500..600 => (Unreachable, "it has an internal error; restart it if this persists"),
            _ => (Unreachable, "check the path in `uri`, and the camera's own log"),
        }
    }

    /// Returns the fault for a failed or impossible authentication.
    pub(super) fn login(&self, challenged: &Challenged, address: &Address) -> Fault {
        let server = address.host_and_port();
        let what = match challenged {
            Challenged::Refused | Challenged::Retry => {
                "the user name or password was rejected; check both in `uri`".to_owned()
            }
            Challenged::NoCredentials => {
                "the camera requires a user name and a password, and `uri` has none; \
                                          write `rtsp://USER:PASSWORD@HOST/...`"
                    .to_owned()
            }
            Challenged::Withheld => format!(
                "the camera redirected to {server}, which requires a login; user name and password are only sent \
                 to the address in `uri`, so set `uri` to the new address if you trust it"
            ),
            Challenged::UnknownScheme(offered) => format!(
                "the camera requires an authentication scheme that is not supported ({offered}); enable Digest or \
                 Basic authentication for RTSP in the camera"
            ),
        };
        self.fault(RetryReason::Unauthorized, &what)
    }

    /// Returns the fault for a session description without a usable video stream.
    pub(super) fn no_track(&self, why: &NoTrack) -> Fault {
        let what = match why {
            NoTrack::NotSdp(start) if start.is_empty() => {
                "the camera answered DESCRIBE without describing a stream; check the path in `uri`".to_owned()
            }
            NoTrack::NotSdp(start) => format!(
                "the camera answered DESCRIBE with data that is not a session description (`{start}`); check the path \
                 in `uri`"
            ),
            NoTrack::NoVideo(others) if others.is_empty() => {
                "the camera offers no video at this path; check the path in `uri`, and that video is switched on".to_owned()
            }
            NoTrack::NoVideo(others) => format!(
                "the camera offers no video at this path, only {}; check the path in `uri`, and that video is \
                 switched on",
                others.join(", ")
            ),
            NoTrack::Unknown(encodings) => format!(
                "the camera sends video as {}, which cannot be decoded; set it to H.264, H.265 or MJPEG, or install \
                 the GStreamer plugin that decodes it",
                encodings.join(", ")
            ),
            NoTrack::Encrypted => {
                "the camera encrypts its media with SRTP, which is not supported; use `rtsps://` \
                                   with interleaved RTP, or switch SRTP off"
                    .to_owned()
            }
        };
        self.fault(RetryReason::Undecodable, &what)
    }

    /// Returns the fault for a redirect that is not followed.
    pub(super) fn redirect(&self, why: &BadRedirect, location: &str) -> Fault {
        let what = match why {
            BadRedirect::NoAddress => format!(
                "the camera redirected to `{location}`, which is not an RTSP address; check the path in `uri`"
            ),
            BadRedirect::Unencrypted => {
                "the camera redirected from `rtsps://` to `rtsp://`, which is not encrypted; set `uri` to the new \
                 address if an unencrypted connection is acceptable"
                    .to_owned()
            }
        };
        self.fault(RetryReason::Unreachable, &what)
    }

    /// Returns the fault for a dialog with `address` that broke during `phase`.
    pub(super) fn broken(
        &self,
        broken: DialogError,
        phase: Phase,
        address: &Address,
        patience: Duration,
    ) -> Fault {
        let server = address.host_and_port();
        let during = match phase {
            Phase::Connecting | Phase::Options => "OPTIONS",
            Phase::Describe => "DESCRIBE",
            Phase::Setup => "SETUP",
            Phase::Play => "PLAY",
            Phase::Packets | Phase::Frames => "",
        };
        // If the first request fails, the port may belong to another service, which does not understand RTSP.
        let advice = match phase {
            Phase::Connecting | Phase::Options => {
                "check that the port in `uri` is the RTSP port (usually 554; a TLS port needs `rtsps://`), and that \
                 the camera is not restarting"
            }
            _ => "check the network, and that the camera is not restarting",
        };
        let what = match broken {
            DialogError::Fault(fault) => return fault,
            DialogError::Malformed(why) => return self.malformed(why),
            DialogError::Closed if phase >= Phase::Packets => {
                return self.fault(RetryReason::EndOfStream, "the camera closed the connection");
            }
            DialogError::Closed => {
                format!("{server} closed the connection without an answer to {during}; {advice}")
            }
            DialogError::Silent if phase >= Phase::Packets => {
                format!("{server} no longer accepts data; check the network, and restart the camera")
            }
            DialogError::Silent | DialogError::Stopped => format!(
                "{server} accepted the connection, but did not answer {during} within {} ms; check that the port in \
                 `uri` is the RTSP port (usually 554), or restart the camera",
                patience.as_millis()
            ),
            DialogError::Failed(error) => format!(
                "the connection to {server} failed ({}); {advice}",
                error.message().trim_end_matches('.')
            ),
        };
        self.fault(RetryReason::Unreachable, &what)
    }

    /// Returns the fault for received bytes that are not RTSP.
    fn malformed(&self, why: Malformed) -> Fault {
        let what = match why {
            Malformed::Tls => "the port speaks TLS; use `rtsps://` in `uri`",
            Malformed::TooLarge => "it sent a message that is too large for RTSP; check the port in `uri`",
            Malformed::Noise => "it does not speak RTSP; check the port in `uri`, usually 554",
        };
        self.fault(RetryReason::Unreachable, what)
    }
}

fn status_line(response: &Response) -> String {
    let Response { code, reason, .. } = response;
    let reason: String = reason.chars().filter(|c| !c.is_control()).take(80).collect();
    let reason = if reason.is_empty() { standard_reason(*code) } else { &reason };
    format!("{code} {reason}").trim_end().to_owned()
}

/// Returns the standard reason phrase for a status code (RFC 2326, section 7.1.1).
fn standard_reason(code: u16) -> &'static str {
    match code {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        453 => "Not Enough Bandwidth",
        454 => "Session Not Found",
        455 => "Method Not Valid in This State",
        461 => "Unsupported Transport",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        551 => "Option not supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::message::{Inbox, Item},
        *,
    };

    fn refused(status: &str, uri: &str, transport: RtspTransport) -> Fault {
        let mut inbox = Inbox::default();
        inbox.push(format!("{status}\r\n\r\n").as_bytes());
        let Some(Item::Response(response)) = inbox.next().unwrap() else { panic!("{status}") };
        let uri = SourceUri::Rtsp { location: uri.into(), credentials: None };
        Context { uri, transport }.refused("SETUP", &response)
    }

    #[test]
    fn error_responses_are_reported_with_status_and_advice() {
        use RetryReason::{NotFound, Unauthorized, Unreachable};
        let cases = [
            ("RTSP/1.0 403 Forbidden", Unauthorized, "user's rights"),
            ("RTSP/1.0 404", NotFound, "`404 Not Found`; there is no such stream"),
            ("RTSP/1.0 453 Not Enough Bandwidth", Unreachable, "close other viewers"),
            ("RTSP/1.0 461 Unsupported Transport", Unreachable, "transport = \"udp\""),
            ("RTSP/1.0 500 Internal Server Error", Unreachable, "restart it"),
            ("RTSP/1.0 503 Service Unavailable", Unreachable, "busy"),
            ("RTSP/1.0 599 Odd", Unreachable, "`599 Odd`"),
            ("HTTP/1.1 400 Bad Request", Unreachable, "web server"),
        ];
        for (status, reason, advice) in cases {
            let fault = refused(status, "rtsp://cam/", RtspTransport::Tcp);
            assert_eq!(fault.reason, reason, "{fault}");
            assert!(fault.detail.contains(advice) && fault.detail.starts_with("rtsp://cam/: "), "{fault}");
        }
    }

    #[test]
    fn never_advises_unencrypted_media_for_an_encrypted_camera() {
        let status = "RTSP/1.0 461 Unsupported Transport";
        let fault = refused(status, "rtsps://cam/", RtspTransport::Tcp);
        assert!(fault.detail.contains("would not be encrypted"), "{fault}");
        let fault = refused(status, "rtsp://cam/", RtspTransport::Udp);
        assert!(fault.detail.contains("transport = \"tcp\""), "{fault}");
    }
}
