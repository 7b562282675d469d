//! Writes claims, and returns their offsets as epochs.

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
    credentials::Credentials,
};

/// Capacity of the queue of answers. Each partition has at most one claim in flight.
const ANSWERS: usize = 16_384;

/// The result of a claim.
pub(crate) struct ClaimAnswer {
    pub(crate) partition: i32,
    /// `None` if the claim was not written.
    pub(crate) epoch: Option<Epoch>,
}

pub(crate) struct Claims {
    producer: Arc<ThreadedProducer<Context>>,
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
        let producer: ThreadedProducer<Context> = client_config(settings, Use::Produce)?
            .set("linger.ms", "0")
            // If a claim is not written within the session timeout, another worker may claim the partition.
            .set("message.timeout.ms", fleet.session_timeout.as_millis().to_string())
            .create_with_context(Context { redactor: redactor.clone(), answers: sender })
            .map_err(|error| redactor.creation_error(&error))?;
        let producer = Arc::new(producer);
        Credentials::new(settings).follow(&producer, |producer| producer.client().native_ptr());
        let topic = settings.topics.claims.clone();
        Ok(Self { producer, topic, worker: worker.clone(), answers })
    }

    /// Sends a claim to `partition`. An answer follows in any case.
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
        // Pending claims are no longer needed.
        self.producer.purge(PurgeConfig::default().queue().inflight());
        let _ = self.producer.flush(Duration::from_millis(100));
    }
}

impl Context {
    fn answer(&self, partition: i32, epoch: Option<Epoch>) {
        // The queue has room for all claims in flight. Sending fails only if the receiver was dropped.
        let _ = self.answers.try_send(ClaimAnswer { partition, epoch });
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log(&self.redactor, level, facility, line);
    }

    fn stats(&self, _: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        // The sink's client reports the same error.
        let (code, reason) = (code(&error), self.redactor.redact(reason));
        tracing::debug!(?code, reason, "the kafka client for claims reports an error");
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Arc<i32>;

    fn delivery(&self, result: &DeliveryResult<'_>, partition: Arc<i32>) {
        // Offsets start at 0, and epoch 0 is reserved for cameras without other owners.
        let epoch = result.as_ref().ok().and_then(|message| u64::try_from(message.offset() + 1).ok());
        self.answer(*partition, epoch.map(Epoch));
    }
}
