//! Helpers for the unit tests of this crate.

use lookout_config::{Brokers, KafkaSettings};
use lookout_schema::{RecordFormat, Topics};

/// Returns the settings of a pipeline file without any Kafka settings, for the brokers `servers`.
pub(crate) fn settings(servers: &str) -> KafkaSettings {
    KafkaSettings {
        brokers: Brokers::Servers(servers.into()),
        topics: Topics::new("lookout").unwrap(),
        format: RecordFormat::default(),
        partitions: 3,
        replication: 1,
        buffer_records: 100.try_into().unwrap(),
        password_file: None,
        client: Vec::new(),
    }
}
