//! Writes claims, and brings their offsets back.

use std::{sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, Sender, bounded};
use lookout_config::{FleetSettings, KafkaSettings};
use lookout_schema::{ClaimRecord, Epoch, Timestamp, WorkerId};
use rdkafka::{
    ClientContext, Message, Statistics,
    config::RDKafkaLogLevel,
    error::KafkaError,
    producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig, ThreadedProducer},
};

use crate::{
    BrokerError,
    client::{Redactor, Use, client_config, code},
    context::log,
};

/// Answers that may wait; a partition has one claim under way at a time.
const ANSWERS: usize = 16_384;

/// What has become of a claim.
pub(crate) struct ClaimAnswer {
    pub(crate) partition: i32,
    /// None where it was not written.
    pub(crate) epoch: Option<Epoch>,
}

pub(crate) struct Claims {
    producer: ThreadedProducer<Context>,
    topic: String,
    worker: WorkerId,
    pub(crate) answers: Receiver<ClaimAnswer>,
}

struct Context {
    redactor: Redactor,
    answers: Sender<ClaimAnswer>,
}

impl Claims {
    pub(crate) fn new(
        settings: &KafkaSettings,
        fleet: &FleetSettings,
        worker: &WorkerId,
    ) -> Result<Self, BrokerError> {
        let redactor = Redactor::new(settings);
        let (sender, answers) = bounded(ANSWERS);
        let producer = client_config(settings, Use::Produce)?
            .set("linger.ms", "0")
            // What is not written by then is another's to claim.
            .set("message.timeout.ms", fleet.session_timeout.as_millis().to_string())
            .create_with_context(Context { redactor: redactor.clone(), answers: sender })
            .map_err(|error| redactor.creation_error(&error))?;
        let topic = settings.topics.claims.clone();
        Ok(Self { producer, topic, worker: worker.clone(), answers })
    }

    /// Sends a claim to `partition`; its answer comes in any case.
    pub(crate) fn send(&self, partition: i32) {
        let claim = ClaimRecord {
            schema: ClaimRecord::SCHEMA.into(),
            partition,
            worker: self.worker.clone(),
            at: Timestamp::now(),
        };
        let payload = serde_json::to_vec(&claim).unwrap_or_default();
        let key = partition.to_string();
        let message = BaseRecord::with_opaque_to(&self.topic, Arc::new(partition))
            .partition(0)
            .key(&key)
            .payload(&payload);
        if let Err((error, _)) = self.producer.send(message) {
            tracing::debug!(code = ?code(&error), partition, "a claim could not be sent");
            self.producer.context().answer(partition, None);
        }
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        // Nobody needs them any more.
        self.producer.purge(PurgeConfig::default().queue().inflight());
        let _ = self.producer.flush(Duration::from_millis(100));
    }
}

impl Context {
    fn answer(&self, partition: i32, epoch: Option<Epoch>) {
        // There is room for more than can be under way; whoever has ended listens no more.
        let _ = self.answers.try_send(ClaimAnswer { partition, epoch });
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log(&self.redactor, level, facility, line);
    }

    fn stats(&self, _: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        // The sink's client says the same.
        tracing::debug!(code = ?code(&error), reason = self.redactor.redact(reason), "the claims' client reports an error");
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Arc<i32>;

    fn delivery(&self, result: &DeliveryResult<'_>, partition: Arc<i32>) {
        // An offset is from 0 on, and epoch 0 is that of cameras without other owners.
        let epoch = result.as_ref().ok().and_then(|message| u64::try_from(message.offset() + 1).ok());
        self.answer(*partition, epoch.map(Epoch));
    }
}
