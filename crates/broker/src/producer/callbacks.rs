//! librdkafka's callbacks: its log, its statistics, its errors and the delivery reports.

use std::sync::Arc;

use rdkafka::{
    ClientContext, Statistics,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{DeliveryResult, ProducerContext},
};

use super::{KafkaProducer, delivery::DeliveryToken};
use crate::{
    client,
    context::{hang_up, log},
    fetching::lines::{self, Line},
};

/// The callbacks of one client.
pub(crate) struct ProducerCallbacks {
    pub(super) producer: Arc<KafkaProducer>,
    pub(super) generation: usize,
}

impl ClientContext for ProducerCallbacks {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        if let Some(Line::TopicId { topic, id }) = lines::read(facility, line) {
            self.producer.take_topic_id(topic, id);
        }
        if let Some(reason) = hang_up(facility, line) {
            self.producer.link.error(RDKafkaErrorCode::BrokerTransportFailure, reason);
        }
        if self.producer.debug || !matches!(level, RDKafkaLogLevel::Debug) {
            log(self.producer.link.redactor(), level, facility, line);
        }
    }

    fn stats(&self, statistics: Statistics) {
        // A client that is about to be dropped does not know the state of the current one.
        if self.producer.state().generation == self.generation {
            self.producer.link.observe(&statistics);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.producer.link.error(client::code(&error), reason);
    }
}

impl ProducerContext for ProducerCallbacks {
    type DeliveryOpaque = Box<DeliveryToken>;

    fn delivery(&self, result: &DeliveryResult<'_>, token: Box<DeliveryToken>) {
        self.producer.on_delivery(self.generation, *token, result);
    }
}
