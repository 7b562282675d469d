//! Writes the results of consumers: tracks and alerts.

use std::{fmt, sync::Arc, time::Duration};

use lookout_config::KafkaSettings;
use lookout_schema::{AlertRecord, RecordFormat, RecordKind, Topics, TrackRecord};
use rdkafka::{
    error::KafkaError,
    producer::{FutureProducer, FutureRecord, Producer},
    util::Timeout,
};
use tokio::task::JoinHandle;

use crate::{
    BrokerError,
    client::{Redactor, Use, client_config, code, is_denied},
    context::QuietContext,
    credentials::Credentials,
    topics::TopicCreator,
};

/// Writes tracks and alerts, acknowledged by all replicas, and without duplicates as far as Kafka's idempotent
/// producer prevents them. While the brokers are unreachable, [`RecordWriter::write`] waits.
pub struct RecordWriter {
    producer: Arc<FutureProducer<QuietContext>>,
    topics: Topics,
    format: RecordFormat,
    /// The task that creates the topics. It ends once they exist.
    creator: JoinHandle<()>,
}

/// A record to write.
#[derive(Debug, Clone, Copy)]
pub enum Written<'a> {
    /// A record for the topic of the tracks.
    Track(&'a TrackRecord),
    /// A record for the topic of the alerts.
    Alert(&'a AlertRecord),
}

impl Written<'_> {
    fn kind(&self) -> RecordKind {
        match self {
            Self::Track(_) => RecordKind::Track,
            Self::Alert(_) => RecordKind::Alert,
        }
    }

    /// Returns the Kafka key, which keeps the records of a camera or worker in order.
    fn key(&self) -> &str {
        match self {
            Self::Track(track) => track.camera.as_str(),
            Self::Alert(alert) => match (&alert.camera, &alert.worker) {
                (Some(camera), _) => camera.as_str(),
                (None, Some(worker)) => worker.as_str(),
                (None, None) => alert.rule.as_str(),
            },
        }
    }

    fn payload(&self, format: RecordFormat) -> Result<Vec<u8>, serde_json::Error> {
        match self {
            Self::Track(track) => lookout_wire::encode(*track, format),
            Self::Alert(alert) => lookout_wire::encode(*alert, format),
        }
    }
}

impl RecordWriter {
    /// Starts the writer. It connects and creates its topics in the background, so an unreachable broker is not an
    /// error here. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// librdkafka rejects the settings.
    pub fn start(settings: &KafkaSettings) -> Result<Self, BrokerError> {
        let redactor = Redactor::new(settings);
        let producer: FutureProducer<QuietContext> = client_config(settings, Use::Produce)?
            .create_with_context(QuietContext::new(redactor.clone()))
            .map_err(|error| redactor.creation_error(&error))?;
        let producer = Arc::new(producer);
        Credentials::new(settings).follow(&producer, |producer| producer.client().native_ptr());
        let creator = TopicCreator::new(settings, &[RecordKind::Track, RecordKind::Alert])?;
        let creator = tokio::spawn(async move { drop(creator.run().await) });
        Ok(Self { producer, topics: settings.topics.clone(), format: settings.format, creator })
    }

    /// Writes a record, and returns once all replicas have it. Records that are passed one after the other keep their
    /// order. If the future is dropped after its first poll, the record is still written.
    ///
    /// # Errors
    /// [`BrokerError::WriteRefused`] if this user currently may not write; another error if the brokers reject the
    /// record permanently. Unreachable brokers are not an error.
    pub async fn write(&self, record: Written<'_>) -> Result<(), BrokerError> {
        let topic = self.topics.of(record.kind());
        let failed = |reason: String| BrokerError::Write { topic: topic.to_owned(), reason };
        let payload = record.payload(self.format).map_err(|error| failed(error.to_string()))?;
        let message = FutureRecord::to(topic).key(record.key()).payload(&payload);
        match self.producer.send(message, Timeout::Never).await {
            Ok(_) => Ok(()),
            Err((error, _)) if is_denied(code(&error)) => {
                let reason = code(&error).to_string();
                Err(BrokerError::WriteRefused { topic: topic.to_owned(), reason })
            }
            Err((error, _)) => Err(failed(code(&error).to_string())),
        }
    }

    /// Waits until all pending records are written, for at most `patience`. Blocks its thread.
    ///
    /// # Errors
    /// Records remain unwritten after `patience`.
    pub fn flush(&self, patience: Duration) -> Result<(), BrokerError> {
        let failed = |error: KafkaError| BrokerError::Write {
            topic: self.topics.alerts.clone(),
            reason: code(&error).to_string(),
        };
        self.producer.flush(Timeout::After(patience)).map_err(failed)
    }
}

impl Drop for RecordWriter {
    fn drop(&mut self) {
        self.creator.abort();
    }
}

impl fmt::Debug for RecordWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordWriter").field("topics", &self.topics).finish_non_exhaustive()
    }
}
