//! The session cookie. It holds its expiry time, signed with the token, so the server stores nothing,
//! sessions survive a restart, and a change of the token ends all sessions.

use axum::http::{HeaderMap, HeaderValue, header};
use hmac::{Hmac, KeyInit, Mac};
use lookout_config::Secret;
use sha2::Sha256;
use subtle::ConstantTimeEq;

const NAME: &str = "lookout_session";
/// Lifetime of a session, in seconds.
const GOOD_FOR: i64 = 12 * 3600;

/// Creates a cookie that is valid from `now` on, in seconds since 1970.
pub(super) fn make(token: &Secret, now: i64, secure: bool) -> Option<HeaderValue> {
    let until = now + GOOD_FOR;
    let value = format!("{until}.{}", sign(token, until)?);
    let secure = if secure { "; Secure" } else { "" };
    let cookie = format!("{NAME}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={GOOD_FOR}{secure}");
    HeaderValue::from_str(&cookie).ok()
}

/// Returns a cookie that deletes the session cookie.
pub(super) fn ended() -> HeaderValue {
    HeaderValue::from_static("lookout_session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0")
}

/// Returns whether a request has a valid session cookie.
pub(super) fn is_good(token: &Secret, headers: &HeaderMap, now: i64) -> bool {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut ours = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|cookie| {
        let (name, value) = cookie.trim().split_once('=')?;
        (name == NAME).then_some(value)
    });
    ours.any(|value| {
        let Some((until, signature)) = value.split_once('.') else { return false };
        let Ok(until) = until.parse::<i64>() else { return false };
        let Some(expected) = sign(token, until) else { return false };
        until > now && bool::from(expected.as_bytes().ct_eq(signature.as_bytes()))
    })
}

fn sign(token: &Secret, until: i64) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(token.reveal().as_bytes()).ok()?;
    mac.update(b"lookout session until ");
    mac.update(until.to_string().as_bytes());
    Some(hex::encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cookie: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, cookie.parse().unwrap());
        headers
    }

    #[test]
    fn accepts_a_cookie_only_with_its_token_and_before_it_expires() {
        let token = Secret::new("a token of some length");
        let made = make(&token, 1_000, true).unwrap();
        let made = made.to_str().unwrap();
        assert!(made.contains("HttpOnly; SameSite=Strict") && made.ends_with("Secure"), "{made}");
        let sent = headers(&format!("other=1; {}", made.split(';').next().unwrap()));
        assert!(is_good(&token, &sent, 1_001));
        assert!(!is_good(&token, &sent, 1_000 + GOOD_FOR));
        assert!(!is_good(&Secret::new("another token"), &sent, 1_001));
        for bad in ["lookout_session=", "lookout_session=99999999.00", "lookout_session=x.y", "a=b"] {
            assert!(!is_good(&token, &headers(bad), 1_001), "{bad}");
        }
    }
}
