//! Finds out why a broker's certificate is not trusted. librdkafka only reports that it is not.

use std::{
    net::{TcpStream, ToSocketAddrs},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lookout_config::{KafkaSettings, Secret};
use openssl::{
    error::ErrorStack,
    ssl::{SslConnector, SslMethod, SslVerifyMode},
    x509::{X509, X509NameEntryRef, X509NameRef, X509Ref, X509VerifyResult},
};

use crate::BrokerProblem;

/// How long each connection attempt, read and write may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// The user's TLS settings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tls {
    on: bool,
    verified: bool,
    names_verified: bool,
    authorities: Option<Authorities>,
    certificate: bool,
}

#[derive(Debug, Clone)]
enum Authorities {
    File(String),
    Pem(Secret),
}

/// The first verification error of a certificate.
#[derive(Debug)]
struct Fault {
    result: X509VerifyResult,
    certificate: Option<X509>,
}

impl Tls {
    pub(crate) fn of(settings: &KafkaSettings) -> Self {
        let own = |name: &str| {
            let setting = settings.client.iter().rev().find(|(key, _)| key == name);
            setting.map(|(_, value)| value.reveal()).filter(|value| !value.is_empty())
        };
        let is = |name: &str, value: &str| own(name).is_some_and(|own| own.eq_ignore_ascii_case(value));
        let file = own("ssl.ca.location").filter(|path| *path != "probe");
        let authorities = file.map(|path| Authorities::File(path.into()));
        let pem = own("ssl.ca.pem").map(|pem| Authorities::Pem(Secret::new(pem)));
        Self {
            on: own("security.protocol")
                .is_some_and(|protocol| protocol.to_ascii_lowercase().ends_with("ssl")),
            verified: !is("enable.ssl.certificate.verification", "false"),
            names_verified: !is("ssl.endpoint.identification.algorithm", "none"),
            authorities: authorities.or(pem),
            certificate: ["ssl.certificate.location", "ssl.certificate.pem", "ssl.keystore.location"]
                .iter()
                .any(|key| own(key).is_some()),
        }
    }

    /// Returns whether clients use TLS to connect to brokers.
    pub(crate) fn is_on(&self) -> bool {
        self.on
    }

    /// Returns whether the client has a certificate of its own.
    pub(crate) fn has_certificate(&self) -> bool {
        self.certificate
    }

    /// Returns what is wrong with the certificate of the broker at `host:port`, if it presents one and verification
    /// fails. Blocks its thread for a few seconds at most.
    pub(crate) fn problem(&self, host: &str, port: u16) -> Option<BrokerProblem> {
        if !self.on || !self.verified {
            return None;
        }
        let fault = self.fault(host, port)?;
        Some(describe(&fault, host, port))
    }

    fn fault(&self, host: &str, port: u16) -> Option<Fault> {
        let stream = connect(host, port).ok()?;
        stream.set_read_timeout(Some(ANSWER_WITHIN)).ok()?;
        stream.set_write_timeout(Some(ANSWER_WITHIN)).ok()?;
        let found: Arc<Mutex<Option<Fault>>> = Arc::default();
        let connector = self.connector(&found).ok()?;
        let mut handshake = connector.configure().ok()?;
        handshake.set_verify_hostname(self.names_verified);
        // The handshake may fail without a client certificate, which does not matter here.
        let _ = handshake.connect(host, stream);
        found.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn connector(&self, found: &Arc<Mutex<Option<Fault>>>) -> Result<SslConnector, ErrorStack> {
        let mut builder = SslConnector::builder(SslMethod::tls_client())?;
        match &self.authorities {
            Some(Authorities::File(path)) => builder.set_ca_file(path)?,
            Some(Authorities::Pem(pem)) => {
                for certificate in X509::stack_from_pem(pem.reveal().as_bytes())? {
                    builder.cert_store_mut().add_cert(certificate)?;
                }
            }
            None => {}
        }
        let found = Arc::clone(found);
        builder.set_verify_callback(SslVerifyMode::PEER, move |is_good, context| {
            if !is_good {
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                let certificate = context.current_cert().map(ToOwned::to_owned);
                found.get_or_insert(Fault { result: context.error(), certificate });
            }
            // Continue in spite of the error: nothing is sent over this connection.
            true
        });
        Ok(builder.build())
    }
}

/// Connects to the first address of `host` that answers.
pub(crate) fn connect(host: &str, port: u16) -> std::io::Result<TcpStream> {
    let mut last = None;
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, ANSWER_WITHIN) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| std::io::Error::other("the host name has no address")))
}

fn describe(fault: &Fault, host: &str, port: u16) -> BrokerProblem {
    // `X509_V_ERR_*` codes, of which the bindings name only some.
    const NOT_YET_VALID: i32 = 9;
    const EXPIRED: i32 = 10;
    const NAMES: [i32; 3] = [62, 63, 64];
    const UNTRUSTED: [i32; 6] = [2, 18, 19, 20, 21, 24];
    let certificate = fault.certificate.as_deref();
    match fault.result.as_raw() {
        EXPIRED => {
            let date = certificate.map(|it| it.not_after().to_string()).unwrap_or_default();
            BrokerProblem::new(
                format!("the certificate of {host}:{port} ({}) expired on {date}", subject(certificate)),
                "renew the certificate; if it has not expired yet, correct this machine's clock",
            )
        }
        NOT_YET_VALID => {
            let date = certificate.map(|it| it.not_before().to_string()).unwrap_or_default();
            BrokerProblem::new(
                format!(
                    "the certificate of {host}:{port} ({}) is not valid before {date}",
                    subject(certificate)
                ),
                "correct this machine's clock, or have the certificate reissued",
            )
        }
        code if NAMES.contains(&code) => BrokerProblem::new(
            format!("the certificate of {host}:{port} is for {}, not for `{host}`", names(certificate)),
            "use one of the certificate's names in `brokers` in [kafka] and in the brokers' `advertised.listeners`, \
             or have a certificate issued for this name",
        ),
        code if UNTRUSTED.contains(&code) => BrokerProblem::new(
            format!(
                "the certificate of {host}:{port} is signed by {}, which is not trusted",
                issuer(certificate)
            ),
            "set `ssl.ca.location` in [kafka.client] to the certificate of the CA that signed it",
        ),
        _ => BrokerProblem::new(
            format!("the certificate of {host}:{port} is not accepted: {}", fault.result.error_string()),
            "replace the broker's certificate, or set `ssl.ca.location` in [kafka.client] to the CA that signed it",
        ),
    }
}

fn subject(certificate: Option<&X509Ref>) -> String {
    certificate.map(|it| distinguished(it.subject_name())).unwrap_or_default()
}

fn issuer(certificate: Option<&X509Ref>) -> String {
    certificate.map(|it| distinguished(it.issuer_name())).unwrap_or_default()
}

/// Returns a name as `CN=..., O=...`.
fn distinguished(name: &X509NameRef) -> String {
    let part = |entry: &X509NameEntryRef| {
        let key = entry.object().nid().short_name().unwrap_or("?").to_owned();
        let value = entry.data().to_string().unwrap_or_default();
        format!("{key}={value}")
    };
    name.entries().map(part).collect::<Vec<_>>().join(", ")
}

fn names(certificate: Option<&X509Ref>) -> String {
    let alternatives = certificate.and_then(X509Ref::subject_alt_names);
    let mut names: Vec<String> = Vec::new();
    for name in alternatives.iter().flatten() {
        let address = name.ipaddress().and_then(|bytes| match bytes.len() {
            4 => <[u8; 4]>::try_from(bytes).ok().map(|it| std::net::Ipv4Addr::from(it).to_string()),
            _ => <[u8; 16]>::try_from(bytes).ok().map(|it| std::net::Ipv6Addr::from(it).to_string()),
        });
        names.extend(name.dnsname().map(ToOwned::to_owned).or(address).map(|name| format!("`{name}`")));
    }
    if names.is_empty() { subject(certificate) } else { names.join(", ") }
}
