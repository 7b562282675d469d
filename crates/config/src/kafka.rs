//! `[kafka]`: brokers, topics and the client's settings.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use lookout_schema::{RecordFormat, Topics};

use crate::{Secret, reader::Section};

/// Settings of the Kafka clients and topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaSettings {
    /// The Kafka cluster.
    pub brokers: Brokers,
    /// The names of the topics.
    pub topics: Topics,
    /// Format of the records that are written. Readers accept both formats.
    pub format: RecordFormat,
    /// Partitions of topics that have to be created; 0 selects the broker's default.
    pub partitions: u16,
    /// Replication factor of topics that have to be created; 0 selects the broker's default.
    pub replication: u16,
    /// Maximum number of records of live cameras that wait for the broker. If it is exceeded, the oldest
    /// expire.
    pub buffer_records: NonZeroUsize,
    /// File with the password of the SASL user. It is read again periodically while clients run.
    pub password_file: Option<PathBuf>,
    /// librdkafka's own settings, passed on unchanged.
    pub client: Vec<(String, Secret)>,
}

/// The bootstrap brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Brokers {
    /// librdkafka's mock cluster inside the process, for trials. It stores records in memory only.
    Embedded,
    /// `host:port,...`
    Servers(String),
}

impl Brokers {
    /// Parses `host:port,...`.
    ///
    /// # Errors
    /// Returns a description of the first invalid entry.
    pub fn servers(text: &str) -> Result<Self, String> {
        for server in text.split(',').map(str::trim) {
            let port = server.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
            if !matches!(port, Some((host, Ok(1..))) if !host.is_empty()) {
                return Err(format!("`{server}` is not a valid `host:port`"));
            }
        }
        Ok(Self::Servers(text.into()))
    }
}

/// librdkafka's settings that the ledger depends on and that cannot be set in `[kafka.client]`, each with a
/// hint.
const OURS: [(&str, &str); 6] = [
    ("bootstrap.servers", "set `brokers` in [kafka]"),
    ("metadata.broker.list", "set `brokers` in [kafka]"),
    ("enable.idempotence", "it is always on, to prevent lost and duplicate records"),
    ("acks", "it is always `all`, so that no acknowledged record is lost"),
    ("request.required.acks", "it is always `all`, so that no acknowledged record is lost"),
    ("transactional.id", "records are not sent in transactions"),
];

impl KafkaSettings {
    pub(crate) fn read(section: Section<'_, '_>, base: &Path) -> Option<Self> {
        let brokers = section.text("brokers").unwrap_or_else(|| "embedded".into());
        let brokers = match brokers.as_str() {
            "embedded" => Some(Brokers::Embedded),
            servers => Brokers::servers(servers)
                .map_err(|what| {
                    section.note("brokers", format!("{what}; write `embedded` or `host:port,...`"));
                })
                .ok(),
        };
        let prefix = section.text("topic_prefix").unwrap_or_else(|| "lookout".into());
        let topics = Topics::new(&prefix).map_err(|error| section.note("topic_prefix", error.to_string()));
        let format = section.choice("format", &RecordFormat::ALL.map(|format| (format.as_str(), format)));
        let partitions = section.integer("partitions", 0..=10_000).unwrap_or(12) as u16;
        let replication = section.integer("replication", 0..=100).unwrap_or(0) as u16;
        let buffer = section.integer("buffer_records", 1..=10_000_000).unwrap_or(10_000) as usize;
        let client = section.section("client");
        let settings = client.pass_through();
        for (name, _) in &settings {
            if let Some((_, instead)) = OURS.iter().find(|(ours, _)| ours == name) {
                client.note(name, format!("this cannot be set here: {instead}"));
            }
        }
        let password_file = section.text("password_file").map(|path| base.join(path));
        let has = |key: &str| settings.iter().any(|(name, _)| name == key);
        if password_file.is_some() && has("sasl.password") {
            section
                .note("password_file", "the password is in [kafka.client] too; remove `sasl.password` there");
        }
        if password_file.is_some() && !has("sasl.username") {
            section.note("password_file", "the user name is missing; set `sasl.username` in [kafka.client]");
        }
        section.finish();
        Some(Self {
            brokers: brokers?,
            topics: topics.ok()?,
            format: format.unwrap_or_default(),
            partitions,
            replication,
            buffer_records: NonZeroUsize::new(buffer)?,
            password_file,
            client: settings.into_iter().map(|(name, value)| (name, Secret::new(value))).collect(),
        })
    }
}
