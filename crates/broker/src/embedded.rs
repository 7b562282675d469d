//! An embedded broker: a Kafka cluster inside the process, for trials and tests.

use std::fmt;

use lookout_config::{Brokers, KafkaSettings};
use lookout_schema::RecordKind;
use rdkafka::{
    ClientConfig,
    error::KafkaResult,
    mocking::MockCluster,
    producer::{Producer, ThreadedProducer},
    types::RDKafkaRespErr,
};

use crate::{BrokerError, client::Redactor, context::QuietContext};

/// librdkafka's mock cluster: one broker on a free port of 127.0.0.1 that any Kafka client can connect to. It runs
/// until this guard is dropped, and keeps the last 5 MiB of each partition in memory.
pub struct Embedded {
    settings: KafkaSettings,
    bootstrap: String,
    // The cluster runs inside this client. A standalone `MockCluster` could not be moved to another thread.
    host: ThreadedProducer<QuietContext>,
}

/// Number of partitions if the settings leave it to the broker.
const DEFAULT_PARTITIONS: i32 = 4;

impl Embedded {
    /// Starts a cluster with the topics of `settings`, for all record kinds.
    pub fn start(settings: &KafkaSettings) -> Result<Self, BrokerError> {
        let fail = |reason: String| BrokerError::Embedded { reason };
        let host: ThreadedProducer<QuietContext> = ClientConfig::new()
            .set("test.mock.num.brokers", "1")
            .set("client.id", "lookout-embedded")
            .create_with_context(QuietContext::new(Redactor::default()))
            .map_err(|error| fail(error.to_string()))?;
        let cluster =
            host.client().mock_cluster().ok_or_else(|| fail("librdkafka has no mock cluster".into()))?;
        let partitions = match settings.partitions {
            0 => DEFAULT_PARTITIONS,
            count => i32::from(count),
        };
        for topic in RecordKind::ALL.map(|kind| settings.topics.of(kind)) {
            cluster
                .create_topic(topic, partitions, 1)
                .map_err(|error| fail(format!("topic {topic}: {error}")))?;
        }
        let bootstrap = cluster.bootstrap_servers();
        drop(cluster);
        let mut settings = settings.clone();
        settings.brokers = Brokers::Servers(bootstrap.clone());
        // The security settings of a real cluster would prevent clients from connecting to this one.
        settings.client.retain(|(key, _)| !["security.", "sasl.", "ssl."].iter().any(|p| key.starts_with(p)));
        Ok(Self { settings, bootstrap, host })
    }

    /// Returns the settings that the cluster was started with, with its address as the brokers.
    pub fn settings(&self) -> &KafkaSettings {
        &self.settings
    }

    /// Stops the broker, or starts it again; for tests of clients.
    ///
    /// # Errors
    /// librdkafka cannot do it.
    pub fn set_away(&self, away: bool) -> Result<(), BrokerError> {
        self.with_cluster(|cluster| if away { cluster.broker_down(-1) } else { cluster.broker_up(-1) })
    }

    /// Denies all clients access to the topic of `kind`, or grants it again; for tests of clients.
    ///
    /// # Errors
    /// librdkafka cannot do it.
    pub fn set_refused(&self, kind: RecordKind, refused: bool) -> Result<(), BrokerError> {
        let error = if refused {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED
        } else {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
        };
        self.with_cluster(|cluster| cluster.topic_error(self.settings.topics.of(kind), error))
    }

    fn with_cluster(
        &self,
        work: impl FnOnce(&MockCluster<'_, QuietContext>) -> KafkaResult<()>,
    ) -> Result<(), BrokerError> {
        let fail = |reason: String| BrokerError::Embedded { reason };
        let cluster =
            self.host.client().mock_cluster().ok_or_else(|| fail("librdkafka has no mock cluster".into()))?;
        work(&cluster).map_err(|error| fail(error.to_string()))
    }

    /// Returns the cluster's address, `host:port`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("bootstrap", &self.bootstrap).finish_non_exhaustive()
    }
}
