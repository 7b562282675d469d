//! Writes the messages of a recording to Kafka again.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
};

use lookout_config::KafkaSettings;
use lookout_schema::RecordKind;
use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{DeliveryFuture, FutureProducer, FutureRecord},
};

use super::Recorded;
use crate::{
    BrokerError,
    client::{Redactor, Use, client_config, code},
    context::QuietContext,
    topics::TopicCreator,
};

/// Writes recorded messages with their keys, times and headers. The key selects the partition, so each camera gets
/// its original partition if the topic has the original number of partitions.
pub struct Replayer {
    settings: KafkaSettings,
    producer: FutureProducer<QuietContext>,
    partitions: BTreeMap<RecordKind, u16>,
    /// The topics that exist, or have to be created by hand.
    ready: BTreeSet<RecordKind>,
    in_flight: VecDeque<DeliveryFuture>,
}

/// Maximum number of unacknowledged messages. Beyond it, [`Replayer::send`] waits.
const WINDOW: usize = 10_000;

impl Replayer {
    /// Starts the producer. A topic that does not exist is created with the number in `partitions`, or with the
    /// broker's default number.
    ///
    /// # Errors
    /// librdkafka rejects the settings.
    pub fn start(
        settings: &KafkaSettings,
        partitions: &BTreeMap<RecordKind, u16>,
    ) -> Result<Self, BrokerError> {
        let redactor = Redactor::new(settings);
        let producer = client_config(settings, Use::Produce)?
            .create_with_context(QuietContext::new(redactor.clone()))
            .map_err(|error| redactor.creation_error(&error))?;
        Ok(Self {
            settings: settings.clone(),
            producer,
            partitions: partitions.clone(),
            ready: BTreeSet::new(),
            in_flight: VecDeque::new(),
        })
    }

    /// Sends a message; [`Self::finish`] waits until the last ones are written.
    ///
    /// # Errors
    /// The brokers reject this message, or an earlier one. Unreachable brokers are not an error: the call waits for
    /// them.
    pub async fn send(&mut self, message: &Recorded) -> Result<(), BrokerError> {
        if self.ready.insert(message.kind) {
            let partitions = self.partitions.get(&message.kind).copied().unwrap_or_default();
            TopicCreator::of_one(&self.settings, self.settings.topics.of(message.kind), partitions)?
                .run()
                .await;
        }
        while self.in_flight.len() >= WINDOW {
            self.settle().await?;
        }
        let topic = self.settings.topics.of(message.kind).to_owned();
        let failed =
            |error: &KafkaError| BrokerError::Write { topic: topic.clone(), reason: code(error).to_string() };
        let headers = message.headers.iter().fold(OwnedHeaders::new(), |headers, (name, value)| {
            headers.insert(Header { key: name, value: value.as_deref() })
        });
        let mut record = FutureRecord::<[u8], [u8]>::to(&topic);
        record.key = message.key.as_deref();
        record.payload = message.value.as_deref();
        record.timestamp = message.time_ms;
        record.headers = (!message.headers.is_empty()).then_some(headers);
        loop {
            match self.producer.send_result(record) {
                Ok(answer) => {
                    self.in_flight.push_back(answer);
                    return Ok(());
                }
                Err((error, back)) if code(&error) == RDKafkaErrorCode::QueueFull => {
                    record = back;
                    self.settle().await?;
                }
                Err((error, _)) => return Err(failed(&error)),
            }
        }
    }

    /// Waits until the brokers have acknowledged all messages.
    ///
    /// # Errors
    /// The brokers reject a message.
    pub async fn finish(mut self) -> Result<(), BrokerError> {
        while !self.in_flight.is_empty() {
            self.settle().await?;
        }
        Ok(())
    }

    /// Waits for the delivery report of the oldest message in flight.
    async fn settle(&mut self) -> Result<(), BrokerError> {
        let Some(answer) = self.in_flight.pop_front() else { return Ok(()) };
        let failed = |topic: &str, reason: String| BrokerError::Write { topic: topic.to_owned(), reason };
        match answer.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err((error, message))) => {
                Err(failed(rdkafka::Message::topic(&message), code(&error).to_string()))
            }
            Err(_) => Err(failed("*", "the client was closed".into())),
        }
    }
}

impl fmt::Debug for Replayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replayer").field("ready", &self.ready).finish_non_exhaustive()
    }
}
