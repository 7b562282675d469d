//! Conversion of the user's settings to librdkafka's.

use lookout_config::{Brokers, KafkaSettings, Secret};
use rdkafka::{
    ClientConfig, Statistics,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
};

use crate::{BrokerError, credentials::Credentials};

/// Settings that the user may replace, each with all its names. librdkafka has aliases, and if two aliases were set,
/// the last one would win.
type Defaults = [(&'static [&'static str], &'static str)];

const PRODUCER: &Defaults = &[
    (&["compression.type", "compression.codec"], "zstd"),
    (&["linger.ms", "queue.buffering.max.ms"], "2"),
    // All Kafka clients except older versions of librdkafka partition keys by murmur2, so streams can be joined.
    (&["partitioner"], "murmur2_random"),
    // A limit in bytes, because records may be too large for a limit by count. The outbox keeps the records that do
    // not fit.
    (&["queue.buffering.max.kbytes"], "65536"),
    // A broker rejects a batch as a whole. If the topic's `max.message.bytes` is smaller, the sink uses smaller
    // batches; see `producer/clients.rs`.
    (&["batch.size"], "262144"),
];

const ANY_CLIENT: &Defaults = &[
    (&["client.id"], "lookout"),
    // The client reconnects to a restarted broker within two seconds, not within librdkafka's default of ten.
    (&["reconnect.backoff.max.ms"], "2000"),
    (&["socket.keepalive.enable"], "true"),
    // This is also the interval at which access to a topic that was denied is tried again.
    (&["topic.metadata.refresh.interval.ms"], "10000"),
];

const CONSUMER: &Defaults = &[
    // Hides the records of aborted transactions.
    (&["isolation.level"], "read_committed"),
    // A topic that exists again, or rights that were granted again, are noticed soon.
    (&["topic.metadata.refresh.interval.ms"], "5000"),
    // After an authorization error, librdkafka waits ten times this long before the next fetch.
    (&["fetch.error.backoff.ms"], "200"),
];

/// Settings on which the ledger relies.
const PRODUCER_FIXED: [(&str, &str); 6] = [
    ("enable.idempotence", "true"),
    ("acks", "all"),
    // Records expire in the outbox, by its rules, and never inside librdkafka.
    ("message.timeout.ms", "0"),
    ("delivery.report.only.error", "false"),
    ("queuing.strategy", "fifo"),
    ("statistics.interval.ms", "1000"),
];

/// Settings that name a file or a directory. librdkafka does not report which file is missing.
const FILES: [&str; 6] = [
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.keystore.location",
    "ssl.crl.location",
    "sasl.kerberos.keytab",
];

/// The purpose of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Produce,
    Consume,
    Admin,
}

/// Returns the brokers' addresses in `settings`.
pub(crate) fn servers(settings: &KafkaSettings) -> Result<&str, BrokerError> {
    match &settings.brokers {
        Brokers::Servers(servers) => Ok(servers),
        Brokers::Embedded => Err(BrokerError::NoAddress),
    }
}

/// Returns librdkafka's configuration for a client of `settings`. Each of the user's settings is tried separately, so
/// that the error can name it.
pub(crate) fn client_config(settings: &KafkaSettings, purpose: Use) -> Result<ClientConfig, BrokerError> {
    let mut config = ClientConfig::new();
    let own = |names: &[&str]| settings.client.iter().any(|(key, _)| names.contains(&key.as_str()));
    let defaults = match purpose {
        Use::Produce => PRODUCER,
        Use::Consume => CONSUMER,
        Use::Admin => &[],
    };
    // The defaults of the purpose replace those of any client.
    for (names, value) in ANY_CLIENT.iter().chain(defaults) {
        if let Some(name) = names.first()
            && !own(names)
        {
            config.set(*name, *value);
        }
    }
    for (key, value) in &settings.client {
        try_setting(key, value)?;
        config.set(key, value.reveal());
    }
    if let Some(password) = Credentials::new(settings).password()? {
        config.set("sasl.password", password.reveal());
    }
    if purpose == Use::Produce {
        for (key, value) in PRODUCER_FIXED {
            config.set(key, value);
        }
    }
    if purpose == Use::Admin {
        // Querying a topic must not create it with the broker's number of partitions.
        config.set("allow.auto.create.topics", "false");
    }
    config.set("bootstrap.servers", servers(settings)?);
    let level = if own(&["debug"]) { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Info };
    config.set_log_level(level);
    Ok(config)
}

/// Returns `host:port` of each broker that the client has learned from metadata.
pub(crate) fn known_brokers(statistics: &Statistics) -> Vec<String> {
    let brokers = statistics.brokers.values();
    let learned = brokers.filter(|broker| broker.nodeid >= 0 && broker.source != "logical");
    learned.map(|broker| broker.nodename.clone()).filter(|name| !name.is_empty()).collect()
}

/// Returns `config` for a client that replaces one that had learned `brokers`. All brokers may have moved since the
/// bootstrap addresses were configured.
pub(crate) fn with_known(config: &ClientConfig, brokers: &[String]) -> ClientConfig {
    let mut config = config.clone();
    let configured = config.get("bootstrap.servers").map(str::to_owned);
    let all: Vec<String> = brokers.iter().cloned().chain(configured).collect();
    config.set("bootstrap.servers", all.join(","));
    config
}

fn try_setting(key: &str, value: &Secret) -> Result<(), BrokerError> {
    let fail = |reason| Err(BrokerError::Setting { key: key.to_owned(), reason });
    if PRODUCER_FIXED.iter().any(|(fixed, _)| *fixed == key) || key == "delivery.timeout.ms" {
        return fail("this cannot be set: the ledger depends on the value that Lookout sets".into());
    }
    if key.contains('\0') || value.reveal().contains('\0') {
        return fail("a setting must not contain a NUL character".into());
    }
    if FILES.contains(&key) && value.reveal() != "probe" && !value.reveal().is_empty() {
        readable(value.reveal()).map_err(|reason| BrokerError::Setting { key: key.to_owned(), reason })?;
    }
    match ClientConfig::new().set(key, value.reveal()).create_native_config() {
        Ok(_) => Ok(()),
        // librdkafka's error text may contain the value.
        Err(_) if is_sensitive(key) => {
            fail("librdkafka rejected the value, which is not shown because it may be secret".into())
        }
        Err(KafkaError::ClientConfig(_, reason, ..)) => fail(reason),
        Err(error) => fail(error.to_string()),
    }
}

fn readable(path: &str) -> Result<(), String> {
    let problem = |error| {
        format!(
            "`{path}` cannot be read: {error}; correct the path, or provide the file and let this user read it"
        )
    };
    std::fs::File::open(path).map(drop).map_err(problem)
}

/// Returns whether the value of a setting must not be shown.
fn is_sensitive(key: &str) -> bool {
    ["password", "secret", "pem", "key", "token", "oauthbearer.config", "assertion"]
        .iter()
        .any(|part| key.contains(part))
}

/// Removes the user's secrets from librdkafka's messages.
#[derive(Clone, Default)]
pub(crate) struct Redactor(Vec<Secret>);

impl Redactor {
    pub(crate) fn new(settings: &KafkaSettings) -> Self {
        let secret = |(key, value): &(String, Secret)| {
            (is_sensitive(key) && !value.reveal().is_empty()).then(|| value.clone())
        };
        let in_file = Credentials::new(settings).password().ok().flatten();
        Self(settings.client.iter().filter_map(secret).chain(in_file).collect())
    }

    pub(crate) fn redact(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.reveal(), "***"))
    }

    /// Returns the error for a client that could not be created.
    pub(crate) fn creation_error(&self, error: &KafkaError) -> BrokerError {
        let reason = match error {
            // The error's own text would show the value of the setting.
            KafkaError::ClientConfig(_, reason, key, _) => format!("{key}: {reason}"),
            KafkaError::ClientCreation(reason) => match file_advice(reason) {
                Some(advice) => format!("{reason}; {advice}"),
                None => reason.clone(),
            },
            other => other.to_string(),
        };
        BrokerError::Client { reason: self.redact(&reason) }
    }
}

/// Returns advice about a file that librdkafka does not accept.
fn file_advice(reason: &str) -> Option<&'static str> {
    let has = |sign: &str| reason.contains(sign);
    if has("no start line") || has("not in PEM format") || has("no certificate or crl found") {
        Some("the file has to be in PEM format: text that starts with `-----BEGIN`")
    } else if has("key values mismatch") || has("Private key check failed") {
        Some("the private key does not match the certificate")
    } else if has("bad decrypt") || has("bad password read") || has("mac verify failure") {
        Some("set `ssl.key.password`, or `ssl.keystore.password`, to the password of the file")
    } else {
        None
    }
}

/// Returns librdkafka's code for `error`, or `Fail` if the error has none.
pub(crate) fn code(error: &KafkaError) -> RDKafkaErrorCode {
    error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail)
}

/// Returns whether the brokers deny what the client asked for. This can be temporary: a right is granted again, or a
/// broker loads its users after a restart.
pub(crate) fn is_denied(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::Authentication
    )
}

#[cfg(test)]
mod tests {
    use rdkafka::statistics::Broker;

    use super::*;
    use crate::testing::settings;

    fn with(client: &[(&str, &str)]) -> KafkaSettings {
        let client = client.iter().map(|(k, v)| ((*k).to_owned(), Secret::new(*v))).collect();
        KafkaSettings { client, ..settings("localhost:1") }
    }

    fn error(client: &[(&str, &str)]) -> String {
        client_config(&with(client), Use::Produce).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_wrong_setting() {
        assert_eq!(
            error(&[("client.id", "x"), ("lingr.ms", "5")]),
            "kafka.client.lingr.ms: No such configuration property: \"lingr.ms\""
        );
        assert!(error(&[("linger.ms", "soon")]).starts_with("kafka.client.linger.ms: Invalid value"));
        assert!(error(&[("acks", "1")]).starts_with("kafka.client.acks: this cannot be set"));
        assert!(error(&[("client.id", "a\0b")]).starts_with("kafka.client.client.id: "));
    }

    #[test]
    fn errors_name_the_missing_file() {
        for key in FILES {
            let error = error(&[(key, "/nowhere/a.pem")]);
            assert!(
                error.starts_with(&format!("kafka.client.{key}: `/nowhere/a.pem` cannot be read: No such")),
                "{error}"
            );
        }
        assert!(client_config(&with(&[("ssl.ca.location", "probe")]), Use::Produce).is_ok());
    }

    #[test]
    fn errors_contain_no_secrets() {
        assert!(!error(&[("ssl.key.password", "hunter2\0")]).contains("hunter2"));
        let settings = with(&[("sasl.password", "hunter2"), ("client.id", "gate")]);
        let redactor = Redactor::new(&settings);
        assert_eq!(redactor.redact("gate said hunter2 twice: hunter2"), "gate said *** twice: ***");
    }

    #[test]
    fn user_settings_replace_the_defaults_under_any_alias() {
        let config = client_config(&with(&[("compression.codec", "lz4")]), Use::Produce).unwrap();
        assert_eq!(config.get("compression.type"), None);
        assert_eq!(config.get("compression.codec"), Some("lz4"));
        assert_eq!(config.get("linger.ms"), Some("2"));
    }

    #[test]
    fn a_replacement_client_starts_with_the_known_brokers() {
        let broker = |nodeid, nodename: &str, source: &str| Broker {
            nodeid,
            nodename: nodename.into(),
            source: source.into(),
            ..Broker::default()
        };
        let all =
            [broker(-1, "old:1", "configured"), broker(2, "moved:9", "learned"), broker(2, "", "logical")];
        let brokers = all.into_iter().enumerate().map(|(i, broker)| (i.to_string(), broker)).collect();
        let known = known_brokers(&Statistics { brokers, ..Statistics::default() });
        let config = with_known(&client_config(&settings("old:1"), Use::Produce).unwrap(), &known);
        assert_eq!(config.get("bootstrap.servers"), Some("moved:9,old:1"));
    }

    #[test]
    fn the_embedded_broker_has_no_address_before_it_is_started() {
        let settings = KafkaSettings { brokers: Brokers::Embedded, ..settings("") };
        assert!(matches!(client_config(&settings, Use::Admin), Err(BrokerError::NoAddress)));
    }
}
