//! Who may ask for what.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Mutex,
    time::{Duration, Instant},
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use lookout_config::{MonitorSettings, Secret};
use lookout_schema::Timestamp;
use subtle::ConstantTimeEq;

use super::{App, cookie, peer, problem::Problem};
use crate::run::locked;

/// Who may come in.
#[derive(Debug)]
pub(super) struct Auth {
    token: Option<Secret>,
    /// Wrong tokens of each address, since when.
    wrong: Mutex<BTreeMap<IpAddr, (Instant, u32)>>,
}

/// Wrong tokens of an address in [`WINDOW`]; after them it is not listened to.
const MAX_WRONG: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered; beyond it all that are not known share one place.
const MAX_ADDRESSES: usize = 10_000;

/// What came of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tried {
    Right,
    Wrong,
    /// It was not looked at: there were too many before.
    TooMany,
}

impl Auth {
    pub(super) fn new(settings: &MonitorSettings) -> Self {
        Self { token: settings.token.clone(), wrong: Mutex::default() }
    }

    pub(super) fn token(&self) -> Option<&Secret> {
        self.token.as_ref()
    }

    /// Whether `text` is the token.
    pub(super) fn tries(&self, text: &str, from: Option<SocketAddr>) -> Tried {
        let Some(token) = &self.token else { return Tried::Right };
        let from = from.map_or(IpAddr::from([0, 0, 0, 0]), |from| network(from.ip()));
        let now = Instant::now();
        let mut wrong = locked(&self.wrong);
        wrong.retain(|_, (since, _)| now.duration_since(*since) < WINDOW);
        let place = if wrong.len() < MAX_ADDRESSES || wrong.contains_key(&from) {
            from
        } else {
            IpAddr::from([0, 0, 0, 0])
        };
        let (_, count) = wrong.entry(place).or_insert((now, 0));
        if *count >= MAX_WRONG {
            return Tried::TooMany;
        }
        if bool::from(token.reveal().as_bytes().ct_eq(text.as_bytes())) {
            wrong.remove(&place);
            return Tried::Right;
        }
        *count += 1;
        Tried::Wrong
    }

    /// Whether who sends these headers is known.
    fn knows(&self, headers: &HeaderMap, from: Option<SocketAddr>) -> Tried {
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

/// One who has a network has all of its addresses.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
    }
}

pub(super) fn now_s() -> i64 {
    Timestamp::now().as_unix_us() / 1_000_000
}

/// Lets those in who are known; shows the others the way.
pub(super) async fn known(State(app): State<App>, request: Request, next: Next) -> Response {
    match app.auth.knows(request.headers(), peer(&request)) {
        Tried::Right => next.run(request).await,
        Tried::TooMany => too_many().into_response(),
        Tried::Wrong if request.uri().path().starts_with("/api") => {
            let what = "log in at /login, or send the token as `Authorization: Bearer TOKEN`";
            Problem::new(StatusCode::UNAUTHORIZED, what).into_response()
        }
        Tried::Wrong => {
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            Redirect::to(&format!("/login?next={}", encoded(path))).into_response()
        }
    }
}

pub(super) fn too_many() -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens from this address; wait a minute")
}

/// Lets nothing in that another site has made a browser send.
pub(super) async fn ours(State(app): State<App>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if app.auth.token().is_none() && !is_local(headers) {
        let what = "this monitor is served to this machine only, under `localhost` or its address; for another name \
                    set `token` in [monitor]";
        return Problem::new(StatusCode::FORBIDDEN, what).into_response();
    }
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if changes {
        let is_form = !request.uri().path().starts_with("/api");
        // A form of another site cannot send a header of its own.
        if !is_form && headers.get("x-lookout").is_none_or(|value| value != "1") {
            return Problem::new(StatusCode::FORBIDDEN, "send the header `x-lookout: 1`").into_response();
        }
        if !is_own_site(headers) {
            return Problem::new(StatusCode::FORBIDDEN, "this comes from another site").into_response();
        }
    }
    next.run(request).await
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Whether the browser says that the page it is from is ours; programs say nothing.
fn is_own_site(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(|value| value.as_bytes());
    if site.is_some_and(|site| site != b"same-origin" && site != b"none") {
        return false;
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    origin.is_some() && origin == text(headers, header::HOST)
}

/// Whether the host that is asked for is this machine: a page of another name that was made to mean it is not ours.
fn is_local(headers: &HeaderMap) -> bool {
    let Some(host) = text(headers, header::HOST) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A path as a part of a query.
fn encoded(path: &str) -> String {
    path.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' => char::from(b).to_string(),
            b => format!("%{b:02X}"),
        })
        .collect()
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
    fn a_page_under_another_name_is_not_ours() {
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
    fn what_another_site_makes_a_browser_send_is_told_apart() {
        for (pairs, own) in [
            (&[("host", "a:1")][..], true),
            (&[("host", "a:1"), ("origin", "http://a:1")], true),
            (&[("host", "a:1"), ("origin", "http://b:1")], false),
            (&[("host", "a:1"), ("origin", "null")], false),
            (&[("host", "a:1"), ("sec-fetch-site", "same-origin")], true),
            (&[("host", "a:1"), ("sec-fetch-site", "same-site")], false),
            (&[("host", "a:1"), ("sec-fetch-site", "cross-site"), ("origin", "http://a:1")], false),
        ] {
            assert_eq!(is_own_site(&headers(pairs)), own, "{pairs:?}");
        }
    }

    #[test]
    fn after_ten_wrong_tokens_none_is_looked_at() {
        let settings = lookout_config::parse_monitor(
            std::path::Path::new("x"),
            "[monitor]\ntoken = \"0123456789abcdef\"",
            &|_| None,
        );
        let auth = Auth::new(&settings.unwrap());
        let (one, other) = (Some("10.0.0.1:1".parse().unwrap()), Some("10.0.0.2:1".parse().unwrap()));
        for _ in 0..10 {
            assert_eq!(auth.tries("wrong", one), Tried::Wrong);
        }
        assert_eq!(auth.tries("0123456789abcdef", one), Tried::TooMany);
        assert_eq!(auth.tries("0123456789abcdef", other), Tried::Right);
    }
}
