//! The client of a request: its address, also behind a reverse proxy.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderName, header},
    middleware::Next,
    response::Response,
};
use ipnet::IpNet;

use super::App;

/// The client of a request, stored as an extension of each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Client {
    /// From the connection, or from `X-Forwarded-For` of a trusted proxy.
    pub(super) address: IpAddr,
    /// The host that the client asked for: `Host`, or `X-Forwarded-Host` of a trusted proxy.
    pub(super) host: Option<String>,
    /// Whether the client speaks TLS with the proxy.
    pub(super) is_secure: bool,
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

impl Client {
    fn of(peer: IpAddr, headers: &HeaderMap, proxies: &[IpNet]) -> Self {
        let peer = peer.to_canonical();
        let is_proxy = |address: &IpAddr| proxies.iter().any(|proxy| proxy.contains(address));
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let host = text(header::HOST);
        if !is_proxy(&peer) {
            return Self { address: peer, host: host.map(str::to_owned), is_secure: false };
        }
        // Each proxy appends the address of its peer, so only the last addresses can be trusted, which
        // trusted proxies have written.
        let listed = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let mut address = peer;
        for text in listed.flat_map(|list| list.split(',')).rev() {
            let Some(before) = parsed(text.trim()) else { break };
            address = before;
            if !is_proxy(&before) {
                break;
            }
        }
        Self {
            address,
            host: text(FORWARDED_HOST).or(host).map(str::to_owned),
            is_secure: text(FORWARDED_PROTO) == Some("https"),
        }
    }
}

/// An address as proxies write it: with or without a port, and an IPv6 address with or without brackets.
fn parsed(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

/// Adds the [`Client`] to a request.
pub(super) async fn identify(State(app): State<App>, mut request: Request, next: Next) -> Response {
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
        let client = Client::of(peer.ip(), request.headers(), &app.settings.trusted_proxies);
        request.extensions_mut().insert(client);
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        let proxies =
            ["127.0.0.0/8".parse().unwrap(), "10.1.0.0/16".parse().unwrap(), "fd00::/8".parse().unwrap()];
        Client::of(peer.parse().unwrap(), &headers, &proxies).address.to_string()
    }

    #[test]
    fn takes_the_client_address_from_trusted_proxies() {
        for (peer, forwarded, expected) in [
            ("192.0.2.1", &[][..], "192.0.2.1"),
            // A client that is not a trusted proxy can send any header.
            ("192.0.2.1", &["198.51.100.7"], "192.0.2.1"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("::ffff:127.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("fd00::1", &["2001:db8::5"], "2001:db8::5"),
            // An address that the client itself has sent comes first.
            ("127.0.0.1", &["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
            ("127.0.0.1", &["203.0.113.9", "198.51.100.7, 10.1.2.3"], "198.51.100.7"),
            ("127.0.0.1", &["10.1.2.3, 10.1.2.4"], "10.1.2.3"),
            ("127.0.0.1", &["198.51.100.7:4711"], "198.51.100.7"),
            ("127.0.0.1", &["[2001:db8::5]:4711"], "2001:db8::5"),
            ("127.0.0.1", &["[2001:db8::5]"], "2001:db8::5"),
            ("127.0.0.1", &["198.51.100.7, unknown"], "127.0.0.1"),
            ("127.0.0.1", &["198.51.100.7, , 10.1.2.3"], "10.1.2.3"),
        ] {
            assert_eq!(client(peer, forwarded), expected, "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn takes_scheme_and_host_from_trusted_proxies_only() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "127.0.0.1:9700".parse().unwrap());
        headers.insert(FORWARDED_HOST, "cameras.example".parse().unwrap());
        headers.insert(FORWARDED_PROTO, "https".parse().unwrap());
        let proxies = ["127.0.0.1/32".parse().unwrap()];
        let behind = Client::of("127.0.0.1".parse().unwrap(), &headers, &proxies);
        assert_eq!((behind.host.as_deref(), behind.is_secure), (Some("cameras.example"), true));
        let direct = Client::of("192.0.2.1".parse().unwrap(), &headers, &proxies);
        assert_eq!((direct.host.as_deref(), direct.is_secure), (Some("127.0.0.1:9700"), false));
    }
}
