//! The largest batch that the topics of a producer accept, as the brokers report it.

use std::{sync::Arc, time::Duration};

use rdkafka::{
    admin::{AdminClient, AdminOptions, ResourceSpecifier},
    error::RDKafkaErrorCode,
    metadata::MetadataBroker,
};

use crate::{
    client::{code, is_denied},
    context::QuietContext,
    producer::KafkaProducer,
};

/// The topic setting that limits a batch. If a topic does not set it, the brokers return their own default.
const SETTING: &str = "max.message.bytes";
/// Short, because the query blocks and the thread may have to stop.
const ASK_FOR: Duration = Duration::from_secs(1);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// The limit may be changed at any time.
const ASK_EVERY: Duration = Duration::from_secs(60);
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// Reads the batch limit of topics from the brokers.
pub(crate) struct TopicLimits {
    admin: Arc<AdminClient<QuietContext>>,
    topics: Vec<String>,
    /// The error that was logged last, so that it is logged once.
    logged: Option<RDKafkaErrorCode>,
}

impl TopicLimits {
    pub(crate) fn new(admin: Arc<AdminClient<QuietContext>>, topics: Vec<String>) -> Self {
        Self { admin, topics, logged: None }
    }

    /// Reads the limit once and passes it to `producer`, the producer.
    ///
    /// # Errors
    /// The brokers do not answer, or deny the query.
    pub(crate) async fn update_producer(&mut self, producer: &KafkaProducer) -> Result<(), RDKafkaErrorCode> {
        let asked = self.smallest().await;
        match asked {
            Ok(Some(limit)) => {
                self.logged = None;
                producer.limit_batches(limit);
            }
            // The embedded broker answers this way.
            Ok(None) | Err(RDKafkaErrorCode::UnsupportedFeature) => {}
            Err(code) => {
                if !is_denied(code) {
                    tracing::debug!(?code, "the brokers did not report the topics' maximum batch size");
                } else if self.logged != Some(code) {
                    let topics = self.topics.join(", ");
                    tracing::info!(
                        topics,
                        ?code,
                        "the maximum batch size of the topics is unknown; grant DESCRIBE_CONFIGS on topics whose \
                         `max.message.bytes` is below 256 KiB"
                    );
                    self.logged = Some(code);
                }
                return Err(code);
            }
        }
        Ok(())
    }

    /// Reads the limit periodically, and when it is in doubt, until this future is dropped.
    pub(crate) async fn follow(mut self, producer: &KafkaProducer) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(ASK_EVERY) => {}
                () = producer.until_in_doubt() => {}
            }
            // A second attempt helps if the brokers are briefly unreachable.
            if self.update_producer(producer).await.is_err() {
                tokio::time::sleep(ASK_AGAIN).await;
                let _ = self.update_producer(producer).await;
            }
        }
    }

    async fn smallest(&self) -> Result<Option<usize>, RDKafkaErrorCode> {
        let topics: Vec<_> = self.topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
        let options = AdminOptions::new().request_timeout(Some(ANSWER_WITHIN)).broker_id(self.any_broker()?);
        let described = self.admin.describe_configs(&topics, &options).await.map_err(|error| code(&error))?;
        let mut smallest = None;
        for topic in described {
            let topic = topic?;
            let limit = topic.get(SETTING).and_then(|entry| entry.value.as_ref()?.parse().ok());
            smallest = smallest.into_iter().chain(limit).min();
        }
        Ok(smallest)
    }

    /// Returns the id of any broker in the metadata. Each broker knows the settings of all topics. librdkafka would
    /// otherwise query the controller, which the embedded broker does not have.
    fn any_broker(&self) -> Result<i32, RDKafkaErrorCode> {
        let topic = self.topics.first().map(String::as_str);
        let metadata = self.admin.inner().fetch_metadata(topic, ASK_FOR).map_err(|error| code(&error))?;
        let broker = metadata.brokers().first().map(MetadataBroker::id);
        broker.ok_or(RDKafkaErrorCode::BrokerNotAvailable)
    }
}
