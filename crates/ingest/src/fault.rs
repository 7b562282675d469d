//! Faults of cameras, with a reason and a message for the user.

use std::time::Duration;

use gstreamer as gst;
use gstreamer::glib;
use lookout_config::SourceUri;
use lookout_schema::RetryReason;
use thiserror::Error;

/// Why a connection to a camera failed. Contains no credentials.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{detail}")]
pub struct Fault {
    pub reason: RetryReason,
    /// A message that states what failed, where, and what to do.
    pub detail: String,
}

impl Fault {
    pub(crate) fn new(reason: RetryReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: plain(detail.into()) }
    }

    /// Creates a fault from an error on a pipeline's bus.
    pub(crate) fn from_bus(uri: &SourceUri, error: &glib::Error, debug: Option<&str>) -> Self {
        let reason = reason(uri, error);
        // The last line of the debug text is the element's own message.
        let message = debug.and_then(|debug| debug.lines().last()).filter(|line| !line.contains("():"));
        let message = scrub(uri, message.unwrap_or_else(|| error.message()));
        let detail = format!("{uri}: {}: {}", what(uri, reason), message.trim_end_matches('.'));
        Self::new(reason, detail)
    }

    /// Returns the fault for a certificate that this machine does not trust, for the reasons in `why`.
    pub(crate) fn untrusted(uri: &SourceUri, why: &str) -> Self {
        let detail = format!(
            "{uri}: its certificate is not trusted ({why}); add the authority that signed it to this machine's \
             trusted authorities, or accept any certificate with `tls_verify = false`"
        );
        Self::new(RetryReason::Untrusted, detail)
    }

    /// Returns the fault for a source without a video that can be decoded.
    pub(crate) fn no_video(uri: &SourceUri) -> Self {
        Self::new(
            RetryReason::Undecodable,
            format!("{uri}: it has no video that can be decoded; check that it is the right source"),
        )
    }

    /// Returns the fault for a stream that has no key frame in its first `frames` frames, so that no decoder can start.
    ///
    /// `waited` is the time for which a live source was waited for, and None for files.
    pub(crate) fn no_key_frame(uri: &SourceUri, frames: u64, waited: Option<Duration>) -> Self {
        let (when, advice) = match waited {
            Some(waited) => {
                (format!(" within {} s", waited.as_secs()), "set the camera's key frame interval to 1 to 4 s")
            }
            None => (String::new(), "record it again, or cut it so that it starts with a key frame"),
        };
        let detail = format!(
            "{uri}: received {frames} frames{when}, but no key frame, so none of them can be decoded; {advice}"
        );
        Self::new(RetryReason::Undecodable, detail)
    }

    /// Returns the fault for a format that only a refused element could read. `why` is the reason for the refusal.
    pub(crate) fn refused(uri: &SourceUri, format: &str, why: &str) -> Self {
        let detail = format!(
            "{uri}: its format ({format}) is not supported: {why}; convert it, for example with `ffmpeg -i IN OUT.mkv`"
        );
        Self::new(RetryReason::Undecodable, detail)
    }

    /// Returns the fault "no video" if the source has only streams other than video, and this fault otherwise.
    ///
    /// `others` holds the media types of the streams that are not decoded. Without a video, GStreamer reports a missing
    /// decoder for one of them, which would mislead the user.
    pub(crate) fn or_no_video(self, uri: &SourceUri, others: &[String]) -> Self {
        let is_video = |name: &String| name.starts_with("video/") || name.starts_with("image/");
        if self.reason != RetryReason::Undecodable || others.is_empty() || others.iter().any(is_video) {
            return self;
        }
        let mut others = others.to_vec();
        others.sort();
        others.dedup();
        let detail =
            format!("{uri}: it has no video, only {}; check that it is the right source", others.join(", "));
        Self::new(RetryReason::Undecodable, detail)
    }

    /// Returns the fault for an element that this installation of GStreamer lacks, or that cannot be set up.
    pub(crate) fn element(name: &str, error: &glib::BoolError) -> Self {
        let detail = format!(
            "GStreamer's element `{name}` is not available ({}); install GStreamer's plugins base, good, bad and libav",
            error.message
        );
        Self::new(RetryReason::PipelineError, detail)
    }
}

fn reason(uri: &SourceUri, error: &glib::Error) -> RetryReason {
    use gst::{CoreError, ResourceError as Resource, StreamError as Stream};
    let rtsp = matches!(uri, SourceUri::Rtsp { .. });
    if let Some(resource) = error.kind::<Resource>() {
        return match resource {
            Resource::NotAuthorized => RetryReason::Unauthorized,
            Resource::NotFound => RetryReason::NotFound,
            Resource::OpenRead
            | Resource::OpenWrite
            | Resource::OpenReadWrite
            | Resource::Read
            | Resource::Write
            | Resource::Busy
                if rtsp || matches!(uri, SourceUri::V4l2(_)) =>
            {
                RetryReason::Unreachable
            }
            _ => RetryReason::PipelineError,
        };
    }
    if let Some(stream) = error.kind::<Stream>() {
        return match stream {
            Stream::TypeNotFound
            | Stream::WrongType
            | Stream::CodecNotFound
            | Stream::Decode
            | Stream::Demux
            | Stream::Format
            | Stream::Decrypt
            | Stream::DecryptNokey => RetryReason::Undecodable,
            // Only its data can make the stream of a file fail.
            Stream::Failed if matches!(uri, SourceUri::File(_)) => RetryReason::Undecodable,
            _ => RetryReason::PipelineError,
        };
    }
    match error.kind::<CoreError>() {
        Some(CoreError::MissingPlugin) => RetryReason::Undecodable,
        _ => RetryReason::PipelineError,
    }
}

fn what(uri: &SourceUri, reason: RetryReason) -> &'static str {
    let file = matches!(uri, SourceUri::File(_));
    match reason {
        RetryReason::Unauthorized => "the user name or password was rejected; check both in `uri`",
        RetryReason::Untrusted => "its certificate is not trusted",
        RetryReason::NotFound if file => "the file cannot be found; check the path in `uri`",
        RetryReason::NotFound => "there is no such stream or device; check the path in `uri`",
        RetryReason::Unreachable => "it cannot be reached; check that it is switched on and `uri` is right",
        RetryReason::Undecodable if file => {
            "it cannot be decoded; check that it is a complete video file and that GStreamer has a decoder for it"
        }
        RetryReason::Undecodable => "its stream cannot be decoded; check that GStreamer has a decoder for it",
        RetryReason::EndOfStream => "the stream has ended",
        RetryReason::Stalled => "no frame has arrived",
        RetryReason::PipelineError => "the pipeline failed",
    }
}

/// Maximum number of characters of a detail, which appears in logs, status records and web pages.
const MAX_DETAIL: usize = 1_000;

/// Returns `detail` as one line of bounded length.
///
/// Parts of it can come from a camera, which could otherwise inject terminal escape sequences and log lines.
fn plain(detail: String) -> String {
    if detail.len() <= MAX_DETAIL && !detail.contains(char::is_control) {
        return detail;
    }
    let cut = detail.chars().count() > MAX_DETAIL;
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    detail.chars().take(MAX_DETAIL).map(visible).chain(cut.then_some('…')).collect()
}

/// Returns `text` with the secrets of `uri` masked: its credentials, and all of its path after the first `=`.
pub(crate) fn scrub(uri: &SourceUri, text: &str) -> String {
    let SourceUri::Rtsp { location, credentials } = uri else {
        return text.to_owned();
    };
    let mut text = text.replace(location.as_str(), &uri.to_string());
    if let Some((_, rest)) = location.split_once("://")
        && let Some((_, path)) = rest.split_once('/')
        && let Some((_, hidden)) = path.split_once('=')
        && !hidden.is_empty()
    {
        text = text.replace(hidden, "***");
    }
    if let Some(credentials) = credentials {
        for secret in [credentials.password.reveal(), credentials.user.as_str()] {
            // A secret this short protects nothing, and to replace it would make the text unreadable.
            if secret.len() > 2 {
                text = text.replace(secret, "***");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use lookout_config::{Credentials, Secret};

    use super::*;

    fn camera(location: &str) -> SourceUri {
        let password = Secret::new("s3cret");
        let credentials = Some(Credentials { user: "viewer".into(), password });
        SourceUri::Rtsp { location: location.into(), credentials }
    }

    #[test]
    fn details_contain_no_credentials() {
        let uri = camera("rtsp://camera/live?token=t0ken99");
        let debug =
            "gstrtspsrc.c(1): f ():\nfailed at rtsp://camera/live?token=t0ken99 for viewer:s3cret, t0ken99";
        let error = glib::Error::new(gst::ResourceError::OpenRead, "could not open");
        let fault = Fault::from_bus(&uri, &error, Some(debug));
        assert_eq!(fault.reason, RetryReason::Unreachable);
        for secret in ["s3cret", "viewer", "t0ken99"] {
            assert!(!format!("{fault} {fault:?}").contains(secret), "{fault}");
        }
    }

    #[test]
    fn details_are_one_line_of_bounded_length() {
        let error = glib::Error::new(gst::ResourceError::Read, "read");
        let answer = format!("\u{1b}[31mred\nERROR a log line {}", "x".repeat(100_000));
        let fault = Fault::from_bus(&camera("rtsp://camera/"), &error, Some(&answer.replace('\n', "\r")));
        assert!(fault.detail.contains("[31mred ERROR"), "{fault}");
        assert!(!fault.detail.contains(char::is_control) && fault.detail.chars().count() <= MAX_DETAIL + 1);
    }

    #[test]
    fn a_source_without_video_is_not_reported_as_a_missing_decoder() {
        let file = SourceUri::File("talk.m4a".into());
        let missing = glib::Error::new(gst::CoreError::MissingPlugin, "Missing decoder: MPEG-4 AAC");
        let fault = |others: &[&str]| {
            let others: Vec<_> = others.iter().map(|name| (*name).to_owned()).collect();
            Fault::from_bus(&file, &missing, None).or_no_video(&file, &others).detail
        };
        assert!(fault(&["audio/mpeg"]).contains("it has no video, only audio/mpeg"));
        assert!(fault(&["audio/mpeg", "video/x-odd"]).contains("Missing decoder"));
        assert!(fault(&[]).contains("Missing decoder"));
    }

    #[test]
    fn the_retry_reason_depends_on_the_error_and_the_source() {
        let (camera, file) = (camera("rtsp://camera/"), SourceUri::File("clip.mp4".into()));
        let reason = |uri, error: glib::Error| Fault::from_bus(uri, &error, None).reason;
        let unauthorized = glib::Error::new(gst::ResourceError::NotAuthorized, "401");
        assert_eq!(reason(&camera, unauthorized), RetryReason::Unauthorized);
        let read = || glib::Error::new(gst::ResourceError::Read, "read");
        assert_eq!(reason(&camera, read()), RetryReason::Unreachable);
        assert_eq!(reason(&file, read()), RetryReason::PipelineError);
        let failed = || glib::Error::new(gst::StreamError::Failed, "internal");
        assert_eq!(reason(&camera, failed()), RetryReason::PipelineError);
        assert_eq!(reason(&file, failed()), RetryReason::Undecodable);
        let plugin = glib::Error::new(gst::CoreError::MissingPlugin, "no decoder");
        assert_eq!(reason(&camera, plugin), RetryReason::Undecodable);
    }
}
