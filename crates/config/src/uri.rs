//! Source addresses of cameras.

use std::{
    ffi::OsString,
    fmt,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use lookout_schema::Size;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use thiserror::Error;
use url::Url;

use crate::{
    Secret,
    expand::{Piece, join},
    user_info,
};

/// The source of a camera's frames. Its `Display` and `Debug` never show credentials.
#[derive(Clone, PartialEq, Eq)]
pub enum SourceUri {
    /// `rtsp://` or `rtsps://`.
    Rtsp {
        /// The address without credentials.
        location: String,
        /// User name and password, if there are any.
        credentials: Option<Credentials>,
    },
    /// `file://` or a plain path to a file that GStreamer can decode.
    File(PathBuf),
    /// `v4l2:///dev/videoN`.
    V4l2(PathBuf),
    /// `test://`: a test pattern of GStreamer's `videotestsrc`.
    Test(TestPattern),
}

/// User name and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub user: String,
    /// Password.
    pub password: Secret,
}

/// `test://PATTERN?width=W&height=H&fps=N`; the pattern is a pattern of GStreamer's `videotestsrc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestPattern {
    /// Value of the `pattern` property of `videotestsrc`.
    pub pattern: String,
    /// Size of the frames.
    pub size: Size,
    /// Frames per second.
    pub fps: u32,
}

/// The error of a text that is not a valid source address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidUri {
    /// The scheme of the address is not supported.
    #[error("unknown scheme `{0}`; use rtsp://, rtsps://, file://, v4l2://, test:// or a plain path")]
    Scheme(String),
    // The text itself may contain a password and is not shown.
    /// The address is not a valid URL; contains the reason.
    #[error("invalid address: {0}")]
    Syntax(String),
    /// A parameter of `test://` is unknown, or its value is out of range.
    #[error("invalid parameter `{0}` of `test://`; use width or height (16 to 8192), or fps (1 to 240)")]
    TestPattern(String),
    /// The path is empty.
    #[error("the path is empty")]
    EmptyPath,
}

impl SourceUri {
    /// Returns whether the connection is encrypted.
    pub fn is_encrypted(&self) -> bool {
        matches!(self, Self::Rtsp { location, .. } if location.starts_with("rtsps:"))
    }

    /// Returns whether the source continues whether or not it is read.
    pub fn is_live(&self) -> bool {
        !matches!(self, Self::File(_))
    }

    /// Parses a source address. Relative paths are relative to `base`.
    pub(crate) fn from_pieces(pieces: Vec<Piece>, base: &Path) -> Result<Self, InvalidUri> {
        let text = join(encode_user_info(pieces));
        let Some((scheme, rest)) = text.split_once("://") else {
            if text.is_empty() {
                return Err(InvalidUri::EmptyPath);
            }
            return Ok(Self::File(base.join(text)));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "rtsp" | "rtsps" => rtsp(&text),
            "file" => file_path(rest).map(Self::File),
            "v4l2" => file_path(rest).map(Self::V4l2),
            "test" => test_pattern(&text).map(Self::Test),
            other => Err(InvalidUri::Scheme(other.chars().take(20).collect())),
        }
    }
}

/// Percent-encodes the values of variables between `://` and `@`, so that they can contain any character.
fn encode_user_info(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut in_user_info = false;
    let has_user_info = pieces.iter().any(|piece| matches!(piece, Piece::Plain(text) if text.contains('@')));
    pieces
        .into_iter()
        .map(|piece| match piece {
            Piece::Plain(text) => {
                if text.contains("://") {
                    in_user_info = has_user_info;
                }
                if text.rsplit("://").next().is_some_and(|rest| rest.contains('@')) {
                    in_user_info = false;
                }
                Piece::Plain(text)
            }
            Piece::Value(text) if in_user_info => {
                Piece::Plain(utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string())
            }
            value => value,
        })
        .collect()
}

fn rtsp(text: &str) -> Result<SourceUri, InvalidUri> {
    let text = &*user_info::encoded(text);
    let (text, zone) = split_zone(text);
    let mut url = Url::parse(&text).map_err(|error| InvalidUri::Syntax(error.to_string()))?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err(InvalidUri::Syntax("the host is missing".into()));
    }
    if is_user_info_cut(&text) {
        let what = "there is an `@` after the host: percent-encode special characters in user name and \
                    password, or take them from the environment with `${NAME}`; in a path, write `%40`";
        return Err(InvalidUri::Syntax(what.into()));
    }
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let user = decoded(url.username());
    let password = url.password().map(decoded);
    let credentials = (!user.is_empty() || password.is_some())
        .then(|| Credentials { user, password: Secret::new(password.unwrap_or_default()) });
    // Neither call can fail because the address has a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let mut location = url.to_string();
    if let Some(zone) = zone {
        location = location.replacen(']', &format!("%{zone}]"), 1);
    }
    Ok(SourceUri::Rtsp { location, credentials })
}

/// Splits off the zone of an IPv6 address, such as `[fe80::1%25eth0]` (RFC 6874) or the common form
/// `[fe80::1%eth0]`. The WHATWG URL standard, which the `url` crate implements, has no zones.
fn split_zone(text: &str) -> (String, Option<&str>) {
    let authority = text.find("://").map_or(0, |at| at + 3);
    let end = text[authority..].find(['/', '?', '#']).map_or(text.len(), |at| authority + at);
    let host = text[authority..end].rfind('@').map_or(authority, |at| authority + at + 1);
    if text[host..].starts_with('[')
        && let Some(closing) = text[host..end].find(']').map(|at| host + at)
        && let Some(percent) = text[host..closing].find('%').map(|at| host + at)
    {
        let zone = &text[percent + 1..closing];
        let zone = zone.strip_prefix("25").filter(|zone| !zone.is_empty()).unwrap_or(zone);
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if !zone.is_empty() && zone.bytes().all(is_name) {
            return ([&text[..percent], &text[closing..]].concat(), Some(zone));
        }
    }
    (text.to_owned(), None)
}

/// Returns whether `host:port/path` may in fact be a user name and a password that contains a `/`, `?` or
/// `#`. A name with a dot, an IP address and `localhost` are always hosts. An `@` in the path belongs to the
/// path unless something like `@host/path` follows.
fn is_user_info_cut(text: &str) -> bool {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let Some((host, _port)) = authority.rsplit_once(':') else { return false };
    if authority.contains(['@', '[', '.']) || host == "localhost" {
        return false;
    }
    path.rsplit_once('@').is_some_and(|(_, after)| after.contains(['/', ':', '.']))
}

fn file_path(rest: &str) -> Result<PathBuf, InvalidUri> {
    const LOCAL: &str = "localhost";
    let rest = match rest.get(..LOCAL.len()) {
        Some(host) if host.eq_ignore_ascii_case(LOCAL) => &rest[LOCAL.len()..],
        _ => rest,
    };
    // A file name can contain any bytes.
    let path: Vec<u8> = percent_decode_str(rest).collect();
    if path.is_empty() {
        return Err(InvalidUri::EmptyPath);
    }
    if !path.starts_with(b"/") {
        return Err(InvalidUri::Syntax("the path after `://` must start with `/`".into()));
    }
    if path.contains(&0) {
        return Err(InvalidUri::Syntax("the path contains `%00`, which is not allowed in file names".into()));
    }
    Ok(PathBuf::from(OsString::from_vec(path)))
}

fn test_pattern(text: &str) -> Result<TestPattern, InvalidUri> {
    let url = Url::parse(text).map_err(|error| InvalidUri::Syntax(error.to_string()))?;
    let pattern = url.host_str().filter(|host| !host.is_empty()).unwrap_or("ball").to_owned();
    let mut test = TestPattern { pattern, size: Size { width: 640, height: 480 }, fps: 25 };
    for (name, value) in url.query_pairs() {
        let wrong = || InvalidUri::TestPattern(format!("{name}={value}"));
        let number: u32 = value.parse().map_err(|_| wrong())?;
        match &*name {
            "width" if (16..=8192).contains(&number) => test.size.width = number,
            "height" if (16..=8192).contains(&number) => test.size.height = number,
            "fps" if (1..=240).contains(&number) => test.fps = number,
            _ => return Err(wrong()),
        }
    }
    Ok(test)
}

impl fmt::Display for SourceUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rtsp { location, credentials } => {
                let (scheme, rest) = location.split_once("://").unwrap_or(("", location));
                // An `@` in the path may be the end of a password that contains a `/`:
                // `rtsp://me:@ab/c@camera`.
                let (user, rest) = match credentials {
                    Some(_) => ("***@", rest.rsplit('@').next().unwrap_or_default()),
                    None => ("", rest),
                };
                // The path or query may contain a password as well: some cameras expect it there.
                let (shown, hidden) = match rest.split_once('=') {
                    Some((shown, _)) => (shown, "=***"),
                    None => (rest, ""),
                };
                write!(f, "{scheme}://{user}{shown}{hidden}")
            }
            Self::File(path) => write!(f, "{}", path.display()),
            Self::V4l2(path) => write!(f, "v4l2://{}", path.display()),
            Self::Test(TestPattern { pattern, size, fps }) => {
                write!(f, "test://{pattern}?width={}&height={}&fps={fps}", size.width, size.height)
            }
        }
    }
}

impl fmt::Debug for SourceUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn uri(text: &str) -> Result<SourceUri, InvalidUri> {
        SourceUri::from_pieces(vec![Piece::Plain(text.into())], Path::new("/base"))
    }

    #[test]
    fn parses_every_kind_of_source() {
        assert_eq!(uri("clip.avi"), Ok(SourceUri::File("/base/clip.avi".into())));
        assert_eq!(uri("file:///a%20b.mp4"), Ok(SourceUri::File("/a b.mp4".into())));
        assert_eq!(uri("v4l2:///dev/video0"), Ok(SourceUri::V4l2("/dev/video0".into())));
        assert_eq!(uri("test://snow?fps=5").unwrap().to_string(), "test://snow?width=640&height=480&fps=5");
        for bad in [
            "",
            "http://x/y",
            "file://",
            "file://x",
            "rtsp://",
            "rtsp:///x",
            "test://x?fps=0",
            "test://x?a=1",
        ] {
            assert!(uri(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn schemes_are_case_insensitive() {
        assert_eq!(uri("FILE:///a.mp4"), Ok(SourceUri::File("/a.mp4".into())));
        assert_eq!(uri("file://LocalHost/a.mp4"), Ok(SourceUri::File("/a.mp4".into())));
        assert_eq!(uri("V4L2:///dev/video0"), Ok(SourceUri::V4l2("/dev/video0".into())));
        assert_eq!(uri("RTSP://Camera/x").unwrap(), rtsp_at("rtsp://Camera/x"));
        assert!(uri("RTSPS://camera/x").unwrap().is_encrypted());
        assert_eq!(uri("Test://snow").unwrap().to_string(), "test://snow?width=640&height=480&fps=25");
    }

    fn rtsp_at(location: &str) -> SourceUri {
        SourceUri::Rtsp { location: location.into(), credentials: None }
    }

    #[test]
    fn accepts_an_at_sign_in_path_and_query() {
        for location in [
            "rtsp://camera/live@main",
            "rtsp://camera:554/live@main",
            "rtsp://10.0.0.5:554/cam@1/main.sdp?a=b@c/d",
            "rtsp://camera.local:554/live?user=a@b.c",
            "rtsp://localhost:8554/a@b/c",
            "rtsp://[::1]:8554/a@b/c",
        ] {
            assert_eq!(uri(location), Ok(rtsp_at(location)));
        }
        let source = uri("rtsp://me:secret@camera:554/cam@1/main").unwrap();
        assert!(
            matches!(source, SourceUri::Rtsp { location, .. } if location == "rtsp://camera:554/cam@1/main")
        );
    }

    #[test]
    fn rejects_an_unencoded_separator_in_a_password() {
        for text in ["rtsp://me:12/34@camera/x", "rtsp://me:1?2@10.0.0.5", "rtsp://me:554/b@camera:554/x"] {
            let error = uri(text).unwrap_err().to_string();
            assert!(error.contains("percent-encode"), "{text}: {error}");
        }
    }

    #[test]
    fn accepts_the_zone_of_an_ipv6_address() {
        let with_zone = rtsp_at("rtsp://[fe80::1%eth0]:554/x");
        assert_eq!(uri("rtsp://[fe80::1%25eth0]:554/x").unwrap(), with_zone);
        assert_eq!(uri("rtsp://[fe80::1%eth0]:554/x").unwrap(), with_zone);
        let SourceUri::Rtsp { location, credentials: Some(credentials) } =
            uri("rtsp://me:a%5Bb%25c@[fe80::1%25wlp2s0.1]/x").unwrap()
        else {
            panic!("no credentials")
        };
        assert_eq!(
            (location.as_str(), credentials.password.reveal()),
            ("rtsp://[fe80::1%wlp2s0.1]/x", "a[b%c")
        );
        assert!(uri("rtsp://[fe80::1%]/x").is_err() && uri("rtsp://[fe80::1%25a b]/x").is_err());
    }

    #[test]
    fn accepts_any_bytes_in_a_file_name() {
        let name = OsString::from_vec(b"/a/bad\xff.mp4".to_vec());
        assert_eq!(uri("file:///a/bad%FF.mp4"), Ok(SourceUri::File(name.into())));
        assert!(uri("file:///a%00.mp4").is_err());
    }

    #[test]
    fn removes_credentials_from_the_location_and_hides_them() {
        let source = uri("rtsp://me:s%40cret@camera:554/stream?a=b").unwrap();
        let SourceUri::Rtsp { location, credentials: Some(credentials) } = &source else {
            panic!("{source}")
        };
        assert_eq!(location, "rtsp://camera:554/stream?a=b");
        assert_eq!((credentials.user.as_str(), credentials.password.reveal()), ("me", "s@cret"));
        assert_eq!(format!("{source} {source:?} {credentials:?}").matches("cret").count(), 0);
        let ambiguous = uri("rtsp://me:@0!!/a@camera/x").unwrap();
        assert_eq!(ambiguous.to_string(), "rtsp://***@camera/x");
        let in_path = uri("rtsp://camera/user=me&password=cret").unwrap();
        assert_eq!(in_path.to_string(), "rtsp://camera/user=***");
    }

    #[test]
    fn accepts_any_character_in_a_password_from_the_environment() {
        let pieces = vec![
            Piece::Plain("rtsp://me:".into()),
            Piece::Value("a@b/c:d%#?".into()),
            Piece::Plain("@camera/x".into()),
        ];
        let SourceUri::Rtsp { location, credentials: Some(credentials) } =
            SourceUri::from_pieces(pieces, Path::new("")).unwrap()
        else {
            panic!("no credentials")
        };
        assert_eq!((location.as_str(), credentials.password.reveal()), ("rtsp://camera/x", "a@b/c:d%#?"));
    }

    proptest! {
        #[test]
        fn never_shows_a_password(password in "[!-~]{6,20}", broken in any::<bool>()) {
            let host = if broken { "[" } else { "camera" };
            let text = format!("rtsp://me:{password}@{host}/x");
            let shown = match uri(&text) {
                Ok(source) => format!("{source:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            prop_assert!(!shown.contains(&password), "{}", shown);
        }
    }
}
