//! Authentication and request forgery protection.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    net::IpAddr,
    sync::Mutex,
    time::{Duration, Instant},
};

use axum::{
    Extension,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use lookout_config::Secret;
use lookout_schema::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use subtle::ConstantTimeEq;

use super::{App, client::Client, cookie, problem::Problem};
use crate::{rules::MonitorSettings, shared::locked};

/// The authentication state.
#[derive(Debug)]
pub(super) struct Auth {
    token: Option<Secret>,
    /// The number of wrong tokens per network, with the start of its window.
    wrong: Mutex<BTreeMap<IpAddr, (Instant, u32)>>,
}

/// The number of wrong tokens per network within [`WINDOW`] after which 429 is returned.
const MAX_WRONG: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// The maximum number of networks that are remembered. Beyond it, all other networks share one entry.
const MAX_ADDRESSES: usize = 10_000;

/// The bytes of a path that are not percent-encoded in a query string.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'_').remove(b'-');

/// The result of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tried {
    Right,
    Wrong,
    /// The token was wrong, and so were at least [`MAX_WRONG`] tokens before it.
    TooMany,
}

impl Auth {
    pub(super) fn new(settings: &MonitorSettings) -> Self {
        Self { token: settings.token.clone(), wrong: Mutex::default() }
    }

    pub(super) fn token(&self) -> Option<&Secret> {
        self.token.as_ref()
    }

    /// Checks whether `text` is the token. The right token is accepted regardless of the number of wrong ones
    /// from its network, which many clients may share. A token is too long to be guessed at any rate.
    pub(super) fn tries(&self, text: &str, from: IpAddr) -> Tried {
        let Some(token) = &self.token else { return Tried::Right };
        if bool::from(token.reveal().as_bytes().ct_eq(text.as_bytes())) {
            return Tried::Right;
        }
        let from = lookout_web::network(from);
        let now = Instant::now();
        let mut wrong = locked(&self.wrong);
        wrong.retain(|_, (since, _)| now.duration_since(*since) < WINDOW);
        let place = if wrong.len() < MAX_ADDRESSES || wrong.contains_key(&from) {
            from
        } else {
            IpAddr::from([0, 0, 0, 0])
        };
        let (_, count) = wrong.entry(place).or_insert((now, 0));
        *count += 1;
        match (*count).cmp(&MAX_WRONG) {
            Ordering::Less => Tried::Wrong,
            Ordering::Equal => {
                tracing::warn!(client = %from, window = ?WINDOW, "{MAX_WRONG} wrong tokens from one client");
                Tried::Wrong
            }
            Ordering::Greater => Tried::TooMany,
        }
    }

    /// Checks the cookie or the bearer token of a request.
    fn knows(&self, headers: &HeaderMap, from: IpAddr) -> Tried {
        let Some(token) = &self.token else { return Tried::Right };
        if cookie::is_good(token, headers, now_s()) {
            return Tried::Right;
        }
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        match bearer.and_then(|value| value.strip_prefix("Bearer ")) {
            Some(text) => self.tries(text, from),
            None => Tried::Wrong,
        }
    }
}

pub(super) fn now_s() -> i64 {
    Timestamp::now().as_unix_us() / 1_000_000
}

/// Middleware that admits authenticated requests, and answers others with 401 or 429, or a redirect
/// to the login page.
pub(super) async fn known(
    State(app): State<App>,
    Extension(client): Extension<Client>,
    request: Request,
    next: Next,
) -> Response {
    match app.auth.knows(request.headers(), client.address) {
        Tried::Right => next.run(request).await,
        Tried::TooMany => too_many().into_response(),
        Tried::Wrong if request.uri().path().starts_with("/api") => {
            let what = "log in at /login, or send the token as `Authorization: Bearer TOKEN`";
            Problem::new(StatusCode::UNAUTHORIZED, what).into_response()
        }
        Tried::Wrong => {
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            Redirect::to(&format!(
                "{}/login?next={}",
                app.settings.base_path,
                utf8_percent_encode(path, PATH)
            ))
            .into_response()
        }
    }
}

pub(super) fn too_many() -> impl IntoResponse {
    let what = "too many wrong tokens from this address; the correct token is still accepted";
    ([(header::RETRY_AFTER, "60")], Problem::new(StatusCode::TOO_MANY_REQUESTS, what))
}

/// Middleware that rejects requests that another site made a browser send (cross-site request forgery).
pub(super) async fn ours(
    State(app): State<App>,
    Extension(client): Extension<Client>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    if app.auth.token().is_none() && !is_local(headers) {
        let what = "without a token, the monitor accepts only requests to `localhost` or a loopback address; to use \
                    another host name, set `token` in [monitor]";
        return Problem::new(StatusCode::FORBIDDEN, what).into_response();
    }
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if changes {
        let is_form = !request.uri().path().starts_with("/api");
        // A form of another site cannot set a custom header.
        if !is_form && headers.get("x-lookout").is_none_or(|value| value != "1") {
            return Problem::new(StatusCode::FORBIDDEN, "this request needs the header `x-lookout: 1`")
                .into_response();
        }
        if !is_own_site(headers, client.host.as_deref()) {
            let what = "the request comes from another site; behind a reverse proxy, forward the `Host` header with \
                        its port, or set `X-Forwarded-Host`";
            return Problem::new(StatusCode::FORBIDDEN, what).into_response();
        }
    }
    next.run(request).await
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Returns whether the browser states that the request comes from a page of this server. Programs other than
/// browsers send neither header and pass.
fn is_own_site(headers: &HeaderMap, host: Option<&str>) -> bool {
    let site = headers.get("sec-fetch-site").map(|value| value.as_bytes());
    if site.is_some_and(|site| site != b"same-origin" && site != b"none") {
        return false;
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    origin.is_some() && origin == host
}

/// Returns whether the requested host is this machine. It protects against DNS rebinding, where a page under
/// another name resolves to this machine.
fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = text(headers, header::HOST) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn accepts_only_loopback_hosts() {
        for (host, local) in [
            ("localhost:9700", true),
            ("127.0.0.1:9700", true),
            ("127.0.0.1", true),
            ("[::1]:9700", true),
            ("evil.example:9700", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example:9700", false),
            ("192.168.1.1", false),
        ] {
            assert_eq!(is_local(&headers(&[("host", host)])), local, "{host}");
        }
    }

    #[test]
    fn detects_cross_site_requests() {
        for (pairs, own) in [
            (&[("host", "a:1")][..], true),
            (&[("host", "a:1"), ("origin", "http://a:1")], true),
            (&[("host", "a:1"), ("origin", "http://b:1")], false),
            (&[("host", "a:1"), ("origin", "null")], false),
            (&[("host", "a:1"), ("sec-fetch-site", "same-origin")], true),
            (&[("host", "a:1"), ("sec-fetch-site", "same-site")], false),
            (&[("host", "a:1"), ("sec-fetch-site", "cross-site"), ("origin", "http://a:1")], false),
        ] {
            assert_eq!(is_own_site(&headers(pairs), Some("a:1")), own, "{pairs:?}");
        }
    }

    #[test]
    fn accepts_the_correct_token_after_any_number_of_wrong_ones() {
        let settings =
            crate::parse(std::path::Path::new("x"), "[monitor]\ntoken = \"0123456789abcdef\"", &|_| None);
        let auth = Auth::new(&settings.unwrap());
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        for _ in 0..10 {
            assert_eq!(auth.tries("wrong", one), Tried::Wrong);
        }
        assert_eq!(auth.tries("wrong", one), Tried::TooMany);
        assert_eq!(auth.tries("0123456789abcdef", one), Tried::Right);
        assert_eq!(auth.tries("wrong", one), Tried::TooMany);
        assert_eq!(auth.tries("wrong", other), Tried::Wrong);
    }
}
