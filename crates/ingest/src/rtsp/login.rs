//! Authentication with a camera.
//!
//! Credentials are tried once per connection, and are sent only to the server that they were configured for.

use http_auth::{
    PasswordClient, PasswordParams,
    digest::{Algorithm, DigestClient},
};
use lookout_config::Credentials;

use super::message::Response;

/// The authentication state of one connection.
pub(super) struct Login {
    credentials: Option<Credentials>,
    /// Whether there are credentials, but for another server, which redirected to this one.
    withheld: bool,
    client: Option<PasswordClient>,
    /// Whether the challenge came from a proxy (407).
    proxy: bool,
    /// Whether the camera accepted the credentials on this connection.
    accepted: bool,
}

/// How to handle a response of 401 or 407.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenged {
    /// Send the request again with the header that [`Login::header`] now returns.
    Retry,
    /// The camera requires authentication, and there are no credentials.
    NoCredentials,
    /// The camera requires authentication, and the only credentials are those for another server.
    Withheld,
    /// The camera refused the credentials.
    Refused,
    /// None of the authentication schemes that the camera offers is supported.
    UnknownScheme(String),
}

impl Login {
    pub(super) fn new(credentials: Option<Credentials>, withheld: bool) -> Self {
        Self { credentials, withheld, client: None, proxy: false, accepted: false }
    }

    /// Returns the same credentials for a new connection to the same server.
    pub(super) fn renewed(self) -> Self {
        Self::new(self.credentials, self.withheld)
    }

    /// Returns whether there are credentials for this server, or for the server that redirected to it.
    pub(super) fn has_credentials(&self) -> bool {
        self.credentials.is_some() || self.withheld
    }

    /// Returns the header that answers the last challenge, or None if there was no challenge or there are no
    /// credentials.
    pub(super) fn header(&mut self, method: &str, uri: &str) -> Option<(&'static str, String)> {
        let Credentials { user, password } = self.credentials.as_ref()?;
        let params =
            PasswordParams { username: user, password: password.reveal(), uri, method, body: Some(&[]) };
        let client = self.client.as_mut()?;
        let mut value = client.respond(&params).ok()?;
        if let PasswordClient::Digest(digest) = client {
            value.push_str(missing_algorithm(digest));
        }
        Some((if self.proxy { "Proxy-Authorization" } else { "Authorization" }, value))
    }

    /// Handles a response of 401 or 407. `with_login` is whether the request carried [`Login::header`].
    pub(super) fn challenged(&mut self, response: &Response, with_login: bool) -> Challenged {
        if with_login && !self.accepted {
            return Challenged::Refused;
        }
        if self.credentials.is_none() {
            return if self.withheld { Challenged::Withheld } else { Challenged::NoCredentials };
        }
        self.proxy = response.code == 407;
        let name = if self.proxy { "Proxy-Authenticate" } else { "WWW-Authenticate" };
        let offered: Vec<_> = response.headers(name).collect();
        let builder =
            offered.iter().fold(PasswordClient::builder(), |builder, offer| builder.challenges(offer));
        match builder.build() {
            Ok(client) => {
                // If credentials that were accepted before are challenged again, their nonce has expired.
                self.client = Some(client);
                Challenged::Retry
            }
            Err(_) => Challenged::UnknownScheme(schemes(&offered)),
        }
    }

    /// Records that a request with [`Login::header`] got a response other than 401 or 407.
    pub(super) fn accepted(&mut self) {
        self.accepted = true;
    }

    /// Returns whether the camera has sent a challenge and has not yet accepted credentials.
    pub(super) fn is_pending(&self) -> bool {
        self.client.is_some() && !self.accepted
    }
}

/// Returns the `algorithm` parameter that the client omits.
///
/// A challenge without `qop` is handled by the client as one of RFC 2069, which supported only MD5. The client then
/// does not state the algorithm that it used.
fn missing_algorithm(digest: &DigestClient) -> &'static str {
    match digest.algorithm() {
        Algorithm::Sha256 if digest.rfc2069_compat() => ", algorithm=SHA-256",
        Algorithm::Sha512Trunc256 if digest.rfc2069_compat() => ", algorithm=SHA-512-256",
        _ => "",
    }
}

/// Returns the names of the offered schemes for an error message, without their parameters, which may be long.
fn schemes(offered: &[&str]) -> String {
    let names: Vec<_> = offered.iter().filter_map(|offer| offer.split_whitespace().next()).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use lookout_config::Secret;

    use super::{
        super::message::{Inbox, Item},
        *,
    };

    fn challenge(lines: &[&str]) -> Response {
        let mut inbox = Inbox::default();
        inbox.push(format!("RTSP/1.0 401 Unauthorized\r\n{}\r\n\r\n", lines.join("\r\n")).as_bytes());
        match inbox.next().unwrap() {
            Some(Item::Response(response)) => response,
            other => panic!("{other:?}"),
        }
    }

    fn login() -> Login {
        let password = Secret::new("secret");
        Login::new(Some(Credentials { user: "admin".into(), password }), false)
    }

    const MD5: &str = "WWW-Authenticate: Digest realm=\"cam\", nonce=\"n\"";
    const SHA256: &str = "WWW-Authenticate: Digest realm=\"cam\", nonce=\"n\", algorithm=SHA-256";
    const BASIC: &str = "WWW-Authenticate: Basic realm=\"cam\"";

    #[test]
    fn answers_basic_and_digest_challenges() {
        let cases: [(&[&str], &str); 5] = [
            (&[BASIC], "Basic YWRtaW46c2VjcmV0"),
            (&[MD5], "Digest "),
            (&[SHA256], "algorithm=SHA-256"),
            (&[BASIC, MD5], "Digest "),
            (&["WWW-Authenticate: Digest realm=\"cam\", nonce=\"n\", algorithm=X-9", MD5], "Digest "),
        ];
        for (offered, expected) in cases {
            let mut login = login();
            assert_eq!(login.header("DESCRIBE", "rtsp://c/"), None);
            assert_eq!(login.challenged(&challenge(offered), false), Challenged::Retry);
            let (name, value) = login.header("DESCRIBE", "rtsp://c/").unwrap();
            assert_eq!(name, "Authorization");
            assert!(value.contains(expected), "{value}");
        }
    }

    #[test]
    fn a_rejected_login_is_not_retried() {
        let mut login = login();
        let stale = challenge(&["WWW-Authenticate: Digest realm=\"cam\", nonce=\"n\", stale=TRUE"]);
        assert_eq!(login.challenged(&stale, false), Challenged::Retry);
        assert!(login.is_pending());
        assert_eq!(login.challenged(&stale, true), Challenged::Refused);
    }

    #[test]
    fn an_accepted_login_is_renewed_when_its_nonce_expires() {
        let mut login = login();
        login.challenged(&challenge(&[MD5]), false);
        login.accepted();
        assert_eq!(login.challenged(&challenge(&[MD5]), true), Challenged::Retry);
    }

    #[test]
    fn reports_why_no_login_is_possible() {
        let challenge_of = |lines: &[&str]| challenge(lines);
        assert_eq!(
            Login::new(None, false).challenged(&challenge_of(&[MD5]), false),
            Challenged::NoCredentials
        );
        assert_eq!(Login::new(None, true).challenged(&challenge_of(&[MD5]), false), Challenged::Withheld);
        let unknown = challenge_of(&["WWW-Authenticate: NTLM"]);
        assert_eq!(login().challenged(&unknown, false), Challenged::UnknownScheme("NTLM".into()));
        assert_eq!(login().challenged(&challenge_of(&[]), false), Challenged::UnknownScheme("none".into()));
    }
}
