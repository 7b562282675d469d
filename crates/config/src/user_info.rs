//! User names and passwords in addresses that are not percent-encoded.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// The characters that would end the authority of an address (RFC 3986, section 3.2), and others that must be
/// encoded.
const ENDS: &AsciiSet =
    &CONTROLS.add(b'/').add(b'?').add(b'#').add(b'@').add(b'[').add(b']').add(b'\\').add(b' ');

/// Percent-encodes the user name and password of `address` if they contain a `/`, `?` or `#` and the address
/// cannot mean anything else.
///
/// In `rtsp://admin:a#b@camera/live`, `admin` could only be a host with the port `a`, which is not a valid
/// port. Therefore, the text up to the last `@` is a user name and a password. `rtsp://camera:554/a@b` is
/// valid and is returned unchanged.
pub(crate) fn encoded(address: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = address.split_once("://") else { return address.into() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let Some((user, port)) = authority.split_once(':') else { return address.into() };
    let is_address = authority.contains('@')
        || authority.starts_with('[')
        || port.is_empty()
        || port.parse::<u16>().is_ok();
    let Some((user_info, host)) = rest.rsplit_once('@').filter(|_| !is_address) else {
        return address.into();
    };
    let password = user_info.get(user.len() + 1..).unwrap_or_default();
    let encode = |text| utf8_percent_encode(text, ENDS);
    format!("{scheme}://{}:{}@{host}", encode(user), encode(password)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_a_password_that_would_end_the_authority() {
        for (written, expected) in [
            ("rtsp://me:a#b@cam/x", "rtsp://me:a%23b@cam/x"),
            ("rtsp://me:a/b@cam:8554/x?y=z", "rtsp://me:a%2Fb@cam:8554/x?y=z"),
            ("rtsp://me:a?b@c@cam/x", "rtsp://me:a%3Fb%40c@cam/x"),
        ] {
            assert_eq!(encoded(written), expected);
        }
    }

    #[test]
    fn leaves_valid_addresses_unchanged() {
        for address in [
            "rtsp://me:a%23b@cam/x",
            "rtsp://me:p@ss@cam/x#y",
            "rtsp://cam:554/a@b",
            "rtsp://cam:/a@b",
            "rtsp://cam/a@b",
            "rtsp://[::1]:554/a@b",
            "rtsp://me:7/8@cam/x",
            "clip.avi",
        ] {
            assert_eq!(encoded(address), address);
        }
    }
}
