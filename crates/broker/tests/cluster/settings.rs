//! The settings of a minimal pipeline file.

use std::num::NonZeroUsize;

use lookout_config::{Brokers, KafkaSettings};
use lookout_schema::{RecordFormat, Topics};

pub(crate) fn settings(servers: &str) -> KafkaSettings {
    KafkaSettings {
        brokers: Brokers::Servers(servers.into()),
        topics: Topics::new("lookout").unwrap(),
        format: RecordFormat::default(),
        partitions: 3,
        replication: 1,
        buffer_records: NonZeroUsize::new(10_000).unwrap(),
        password_file: None,
        client: Vec::new(),
    }
}
