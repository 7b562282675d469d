//! RTSP addresses: parsing, redirects, and the resolution of SDP control attributes.

use lookout_config::{Credentials, Secret};
use url::Url;

/// An address to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// The address as it is written in requests, without credentials.
    pub(super) uri: String,
}

/// Why a camera's redirect is not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BadRedirect {
    /// The `Location` header is empty, or is not an RTSP address.
    NoAddress,
    /// The redirect leads from `rtsps://` to `rtsp://`.
    Unencrypted,
}

impl Address {
    /// Parses `location`, an `rtsp://` or `rtsps://` address without credentials.
    pub(super) fn parse(location: &str) -> Option<Self> {
        let (plain, zone) = without_zone(location);
        let mut address = Self::from_url(&Url::parse(&plain).ok()?, &plain)?;
        if let Some(zone) = zone {
            address.host = format!("{}%{zone}", address.host);
        }
        Some(address)
    }

    fn from_url(url: &Url, written: &str) -> Option<Self> {
        let tls = match url.scheme() {
            "rtsp" | "rtspt" | "rtspu" => false,
            "rtsps" => true,
            _ => return None,
        };
        let host = url.host_str().filter(|host| !host.is_empty())?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = url.port().unwrap_or(if tls { 322 } else { 554 });
        Some(Self { tls, host, port, uri: written.to_owned() })
    }

    /// Resolves the camera's `Location` header against this address. Returns the new address and the credentials in
    /// it.
    pub(super) fn redirected(&self, location: &str) -> Result<(Self, Option<Credentials>), BadRedirect> {
        let base = Url::parse(&self.uri).map_err(|_| BadRedirect::NoAddress)?;
        let mut url = base.join(location.trim()).map_err(|_| BadRedirect::NoAddress)?;
        if location.trim().is_empty() {
            return Err(BadRedirect::NoAddress);
        }
        let decoded =
            |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (user, password) = (decoded(url.username()), url.password().map(decoded));
        let credentials = (!user.is_empty() || password.is_some())
            .then(|| Credentials { user, password: Secret::new(password.unwrap_or_default()) });
        // These calls fail only for an address without a host, which `from_url` then rejects.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        let address = Self::from_url(&url, url.as_str()).ok_or(BadRedirect::NoAddress)?;
        if self.tls && !address.tls {
            return Err(BadRedirect::Unencrypted);
        }
        Ok((address, credentials))
    }

    /// Returns whether credentials for `self` may be sent to `other`: scheme, host and port must be equal.
    pub(super) fn is_same_server(&self, other: &Self) -> bool {
        self.tls == other.tls && self.host.eq_ignore_ascii_case(&other.host) && self.port == other.port
    }

    /// Returns `host:port`, with brackets around an IPv6 address.
    pub(super) fn host_and_port(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// Splits the zone id of an IPv6 address off `location`.
///
/// The URL standard does not support zone ids, and cameras do not need them in requests.
fn without_zone(location: &str) -> (String, Option<&str>) {
    let zone = location.split_once('[').and_then(|(_, rest)| rest.split_once(']')?.0.split_once('%'));
    match zone {
        Some((_, zone)) => (location.replacen(&format!("%{zone}"), "", 1), Some(zone)),
        None => (location.to_owned(), None),
    }
}

/// Resolves the SDP attribute `control` against `base`.
///
/// A relative attribute is appended to the base, because most clients do this and cameras expect it. RFC 3986 would
/// replace the last path segment of a base without a final slash, and drop its query.
pub(super) fn control(base: &str, control: Option<&str>) -> String {
    match control.map(str::trim) {
        None | Some("" | "*") => base.to_owned(),
        Some(absolute) if is_absolute(absolute) => absolute.to_owned(),
        Some(relative) if base.ends_with('/') || relative.starts_with('/') => {
            format!("{}/{}", base.trim_end_matches('/'), relative.trim_start_matches('/'))
        }
        Some(relative) => format!("{base}/{relative}"),
    }
}

pub(super) fn is_absolute(address: &str) -> bool {
    let scheme = address.split("://").next().unwrap_or_default();
    scheme.len() < address.len() && ["rtsp", "rtsps", "rtspu"].iter().any(|s| scheme.eq_ignore_ascii_case(s))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn default_ports_and_ipv6() {
        assert_eq!(address("rtsp://camera/live").port, 554);
        assert_eq!(address("rtsps://camera/live").port, 322);
        let v6 = address("rtsp://[::1]:8554/live?a=b");
        assert_eq!((v6.host.as_str(), v6.host_and_port().as_str()), ("::1", "[::1]:8554"));
        assert_eq!(v6.uri, "rtsp://[::1]:8554/live?a=b");
        assert_eq!(Address::parse("http://camera/"), None);
        let zone = address("rtsp://[fe80::1%eth0]/live");
        assert_eq!((zone.host.as_str(), zone.uri.as_str()), ("fe80::1%eth0", "rtsp://[fe80::1]/live"));
    }

    #[test]
    fn follows_redirects_to_rtsp_addresses_only() {
        let from = address("rtsp://camera:8554/live");
        assert_eq!(from.redirected("rtsp://other/x").unwrap().0.host_and_port(), "other:554");
        assert_eq!(from.redirected("/y").unwrap().0.uri, "rtsp://camera:8554/y");
        assert!(from.redirected("rtsps://camera/x").unwrap().0.tls);
        let (to, credentials) = from.redirected("rtsp://me:p%40ss@other/x").unwrap();
        assert_eq!(to.uri, "rtsp://other/x");
        assert_eq!(credentials.unwrap().password.reveal(), "p@ss");
        for nowhere in ["", " ", "http://camera/x"] {
            assert_eq!(from.redirected(nowhere), Err(BadRedirect::NoAddress), "{nowhere}");
        }
        assert_eq!(address("rtsps://camera/").redirected("rtsp://camera/"), Err(BadRedirect::Unencrypted));
    }

    #[test]
    fn the_same_server_has_the_same_scheme_host_and_port() {
        let server = address("rtsp://Camera:8554/a");
        assert!(server.is_same_server(&address("rtsp://camera:8554/b")));
        for other in ["rtsp://other:8554/a", "rtsp://camera/a", "rtsps://camera:8554/a"] {
            assert!(!server.is_same_server(&address(other)), "{other}");
        }
    }

    #[test]
    fn control_attributes_are_appended() {
        let cases = [
            ("rtsp://c/a/", Some("track1"), "rtsp://c/a/track1"),
            ("rtsp://c/a", Some("track1"), "rtsp://c/a/track1"),
            ("rtsp://c/a?ch=1", Some("trackID=1"), "rtsp://c/a?ch=1/trackID=1"),
            ("rtsp://c/a/", Some("/track1"), "rtsp://c/a/track1"),
            ("rtsp://c/a/", Some("rtsp://d/t"), "rtsp://d/t"),
            ("rtsp://c/a/", Some("*"), "rtsp://c/a/"),
            ("rtsp://c/a", None, "rtsp://c/a"),
        ];
        for (base, attribute, expected) in cases {
            assert_eq!(control(base, attribute), expected, "{base} {attribute:?}");
        }
    }
}
