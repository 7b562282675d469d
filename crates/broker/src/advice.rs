//! Explains problems with connections and topics, with advice; for the log, for health and for `lookout doctor`.

use std::io;

use lookout_config::KafkaSettings;
use rdkafka::error::RDKafkaErrorCode as Code;

use crate::{BrokerProblem, tls::Tls};

/// The broker that an error of librdkafka is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Whether the cluster advertises this address. If not, it is one of `brokers` in the settings.
    pub(crate) advertised: bool,
}

impl Node {
    /// Parses `[protocol://]host:port/(bootstrap|ID): ...`.
    fn of(reason: &str) -> Option<Self> {
        let name = reason.split_once("://").map_or(reason, |(protocol, rest)| {
            if protocol.contains(char::is_whitespace) { reason } else { rest }
        });
        let (address, rest) = name.split_once('/')?;
        let (host, port) = address.rsplit_once(':')?;
        let id = rest.split(':').next()?;
        let advertised = id.parse::<i32>().is_ok();
        (advertised || id == "bootstrap").then_some(())?;
        Some(Self { host: host.trim_matches(['[', ']']).into(), port: port.parse().ok()?, advertised })
    }
}

/// The user's settings that determine what an error means.
#[derive(Debug, Clone, Default)]
pub(crate) struct Security {
    pub(crate) tls: Tls,
    sasl: bool,
}

impl Security {
    pub(crate) fn of(settings: &KafkaSettings) -> Self {
        let protocol = settings.client.iter().rev().find(|(key, _)| key == "security.protocol");
        let protocol = protocol.map(|(_, value)| value.reveal().to_ascii_lowercase()).unwrap_or_default();
        Self { tls: Tls::of(settings), sasl: protocol.starts_with("sasl") }
    }
}

const NO_TLS: &str = "the port does not speak TLS: set `security.protocol` in [kafka.client] to `plaintext` or \
                      `sasl_plaintext`, or set `brokers` to the port of the TLS listener";
const TLS: &str = "the port speaks TLS: set `security.protocol` in [kafka.client] to `ssl` or `sasl_ssl`, and \
                   `ssl.ca.location` to the certificate of the CA that signed the brokers' certificates, or set \
                   `brokers` to the port of a listener without TLS";
const ADVERTISED: &str = "the cluster advertises this address to its clients, but this machine cannot resolve the host \
                          name: correct `advertised.listeners` of the broker, or make the name resolvable on this \
                          machine";

const DOWN: &str = "the broker is down, or this machine cannot reach it at the address that it advertises: start the \
                    broker, or correct its `advertised.listeners`";

/// Returns whether the broker's certificate was not trusted. librdkafka does not report the reason.
pub(crate) fn is_untrusted(code: Code, reason: &str) -> bool {
    code == Code::SSL
        && (reason.contains("certificate verify failed") || reason.contains("verify broker certificate"))
}

/// Explains an error that librdkafka reports for a connection. If the certificate was not trusted, fetches it to find
/// the reason, which blocks for a few seconds.
pub(crate) fn explain_slowly(code: Code, reason: &str, security: &Security) -> BrokerProblem {
    let node = Node::of(reason).filter(|_| is_untrusted(code, reason));
    let found = node.and_then(|node| security.tls.problem(&node.host, node.port));
    found.unwrap_or_else(|| explain(code, reason, security))
}

/// Explains an error that librdkafka reports for a connection.
pub(crate) fn explain(code: Code, reason: &str, security: &Security) -> BrokerProblem {
    // The rest of the text has the duration and the number of the attempts.
    let what = reason.split(" (after ").next().unwrap_or(reason);
    let advertised = Node::of(reason).is_some_and(|node| node.advertised);
    let has = |sign: &str| what.contains(sign);
    // In TLS 1.3 the alert arrives after the handshake, and librdkafka reports it as a transport failure.
    let is_certificate_alert = (code == Code::SSL || has(" alert ")) && wants_certificate(what);
    let advice = match code {
        Code::Authentication | Code::SaslAuthenticationFailed if has("supported mechanisms") => {
            "set `sasl.mechanism` in [kafka.client] to one of the broker's supported mechanisms"
        }
        Code::Authentication | Code::SaslAuthenticationFailed => {
            "check `sasl.mechanism`, `sasl.username` and `sasl.password` in [kafka.client], or `password_file` in [kafka]"
        }
        _ if has("wrong version number") || has("PLAINTEXT broker") || has("packet length too long") => {
            NO_TLS
        }
        Code::SSL if is_untrusted(code, what) => {
            "the broker's certificate is not trusted: set `ssl.ca.location` in [kafka.client] to the \
             certificate of the CA that signed it"
        }
        _ if is_certificate_alert && security.tls.has_certificate() => {
            "the broker rejected this client's certificate: it has to be valid now, and signed by a CA that the \
             broker trusts; check `ssl.certificate.location` in [kafka.client]"
        }
        _ if is_certificate_alert => {
            "the broker requires a client certificate: set `ssl.certificate.location` and `ssl.key.location` in \
             [kafka.client]"
        }
        Code::SSL => {
            "the TLS connection failed: check that the port in `brokers` is a TLS listener's, and check \
             `security.protocol` and the `ssl.*` settings in [kafka.client]"
        }
        _ if invalid_size(what).is_some_and(is_tls_alert) || has("SSL listener?") => TLS,
        _ if invalid_size(what).is_some() => {
            "the port does not belong to a Kafka broker: check `brokers` in [kafka]"
        }
        Code::Resolve if advertised => ADVERTISED,
        Code::Resolve => "the host name cannot be resolved: check `brokers` in [kafka], and DNS",
        _ if advertised && (has("refused") || has("timed out") || has("unreachable") || has("No route")) => {
            DOWN
        }
        _ if has("refused") => "nothing listens there: start the broker, or correct `brokers` in [kafka]",
        _ if has("timed out in state CONNECT") || has("unreachable") || has("No route") => {
            "the address cannot be reached: check `brokers` in [kafka], the network and its firewalls"
        }
        _ if has("timed out in state") => {
            "the port accepts connections, but does not answer like a Kafka broker: check the port in `brokers`, and \
             `security.protocol` in [kafka.client]"
        }
        _ if (has("security.protocol") || hung_up(what)) && security.tls.is_on() => {
            "the broker closed the connection: it may require SASL or a client certificate; check \
             `security.protocol` and `ssl.certificate.location` in [kafka.client]"
        }
        _ if (has("security.protocol") || hung_up(what)) && !security.sasl => {
            "the broker closed the connection: its port may require TLS or SASL; set `security.protocol` in \
             [kafka.client]"
        }
        _ if hung_up(what) => {
            "the broker closed the connection: its port may require TLS; check `security.protocol` in [kafka.client]"
        }
        _ => {
            "check `brokers` in [kafka], the network between this machine and the brokers, and `security.protocol` in \
             [kafka.client]; if the brokers run in containers, also their `advertised.listeners`"
        }
    };
    BrokerProblem::new(what, advice)
}

/// Returns the problem of an address that the cluster advertises and that does not answer.
pub(crate) fn not_reached(address: &str, error: &io::Error) -> BrokerProblem {
    let reason = error.to_string();
    let advice = if reason.contains("lookup address") { ADVERTISED } else { DOWN };
    BrokerProblem::new(format!("the broker at `{address}` cannot be reached: {reason}"), advice)
}

/// Returns whether the error is an alert by which brokers reject clients without a certificate, or with a wrong one.
fn wants_certificate(what: &str) -> bool {
    let alerts =
        ["certificate required", "bad certificate", "handshake failure", "unknown ca", "certificate expired"];
    alerts.iter().any(|alert| what.contains(alert)) || what.contains("certificate unknown")
}

/// Returns whether the peer closed the connection. Which of these errors the system reports depends on whether the
/// peer closed it before, while or after something was sent.
fn hung_up(what: &str) -> bool {
    ["Disconnected", "Broken pipe", "Connection reset"].iter().any(|sign| what.contains(sign))
}

/// Returns the first four bytes of a response that is not a Kafka response.
fn invalid_size(what: &str) -> Option<u32> {
    let (_, rest) = what.split_once("Invalid response size ")?;
    rest.split(' ').next()?.parse::<i32>().ok().map(|size| size as u32)
}

/// Returns whether a response starts like an alert of SSL 3 to TLS 1.3.
fn is_tls_alert(size: u32) -> bool {
    size >> 16 == 0x1503
}

/// Returns whether the brokers do not know the topic, or do not know it yet.
pub(crate) fn is_missing_topic(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownTopicOrPartition
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::LeaderNotAvailable
    )
}

/// Returns advice about records of `topic` that the brokers reject with `code`.
pub(crate) fn refusal(code: Code, topic: &str) -> String {
    match code {
        Code::TopicAuthorizationFailed => {
            format!("grant this client's user WRITE and DESCRIBE on the topic `{topic}`")
        }
        Code::ClusterAuthorizationFailed => {
            "grant this client's user IDEMPOTENT_WRITE on the cluster, which brokers older than 2.8 require"
                .into()
        }
        Code::InvalidTimestamp => format!(
            "synchronize the clocks of this machine and of the brokers by NTP; they differ by more than \
             `message.timestamp.before.max.ms` or `message.timestamp.after.max.ms` of `{topic}` allows"
        ),
        Code::PolicyViolation => {
            format!(
                "a policy of the brokers rejects records on `{topic}`: see the brokers' log for the policy"
            )
        }
        Code::InvalidTopic => {
            format!("the brokers do not allow a topic named `{topic}`: correct `topic_prefix` in [kafka]")
        }
        code if is_missing_topic(code) => {
            format!("the topic `{topic}`, or a partition of it, does not exist: create it, or restore it")
        }
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => format!(
            "records are larger than `max.message.bytes` of `{topic}`, or `message.max.bytes` in [kafka.client], \
             allows: raise the limit, or set `format = \"protobuf\"` in [kafka]"
        ),
        Code::InvalidRecord => {
            format!(
                "the brokers rejected a record on `{topic}` as invalid: see the brokers' log for the reason"
            )
        }
        _ => "see the brokers' log for the reason".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(code: Code, reason: &str) -> String {
        explain(code, reason, &Security::default()).advice
    }

    #[test]
    fn advises_on_the_protocol_when_the_broker_closes_the_connection() {
        for how in [
            "10.0.0.1:9092/bootstrap: Send failed: Broken pipe",
            "10.0.0.1:9092/bootstrap: Receive failed: Connection reset by peer (after 2ms in state UP)",
            "10.0.0.1:9092/bootstrap: Disconnected: verify that security.protocol is correctly configured",
            "10.0.0.1:9092/bootstrap: Disconnected (after 3ms in state APIVERSION_QUERY)",
        ] {
            let advice = advice(Code::BrokerTransportFailure, how);
            assert!(advice.contains("`security.protocol`"), "{advice}");
        }
        let refused = "10.0.0.1:9092/bootstrap: Connect to ipv4#10.0.0.1:9092 failed: Connection refused";
        assert!(advice(Code::BrokerTransportFailure, refused).contains("nothing listens there"));
    }

    #[test]
    fn recognizes_tls_and_other_protocols_by_an_invalid_response() {
        let tls = "127.0.0.1:9093/bootstrap: Receive failed: Invalid response size 352518912 (0..100000000): increase";
        assert!(advice(Code::BadMessage, tls).contains("speaks TLS"));
        let http = "127.0.0.1:80/bootstrap: Receive failed: Invalid response size 1213486160 (0..100000000): increase";
        assert!(advice(Code::BadMessage, http).contains("does not belong to a Kafka broker"));
    }

    #[test]
    fn distinguishes_advertised_from_configured_addresses() {
        let unknown =
            |id| format!("kafka:9092/{id}: Failed to resolve 'kafka:9092': Name or service not known");
        assert!(advice(Code::Resolve, &unknown("1")).contains("advertised.listeners"));
        assert!(advice(Code::Resolve, &unknown("bootstrap")).contains("`brokers`"));
        let refused = "ssl://10.0.0.1:9092/7: Connect to ipv4#10.0.0.1:9092 failed: Connection refused";
        assert!(advice(Code::BrokerTransportFailure, refused).contains("advertised.listeners"));
    }

    #[test]
    fn parses_the_brokers_address_from_an_error() {
        let node = |reason| Node::of(reason).map(|node| (node.host, node.port, node.advertised));
        assert_eq!(
            node("ssl://kafka-1:9093/bootstrap: SSL handshake"),
            Some(("kafka-1".into(), 9093, false))
        );
        assert_eq!(node("[::1]:9092/12: Connect to"), Some(("::1".into(), 9092, true)));
        assert_eq!(node("GroupCoordinator: 1 request timed out"), None);
        assert_eq!(node("2/2 brokers are down"), None);
    }
}
