//! Reading and editing of the camera registry.

use std::{
    collections::BTreeMap,
    fmt, thread,
    time::{Duration, Instant},
};

use lookout_config::KafkaSettings;
use lookout_schema::{CameraId, CameraSpec, RegistryRecord};
use lookout_wire::decode_registry_record;
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer},
};
use tokio::time::timeout;

use crate::{
    BrokerError,
    client::{Redactor, Use, client_config, code, is_denied, servers},
    context::QuietContext,
    topics::TopicCreator,
};

/// How long the brokers may take to answer.
const REACH_FOR: Duration = Duration::from_secs(15);
/// For how long an edit that conflicts with others is retried.
const EDIT_FOR: Duration = Duration::from_mins(2);
/// Maximum backoff before a retry, in multiples of the duration of the last attempt.
const WAIT_MOST: u32 = 64;

/// A change of one camera.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Adds the camera, or replaces the one with the same id.
    Put(Box<CameraSpec>),
    /// Removes the camera with a tombstone.
    Remove(CameraId),
}

/// The content of the registry.
#[derive(Debug, Default)]
pub struct RegistryView {
    /// The cameras by id.
    pub cameras: BTreeMap<CameraId, CameraSpec>,
    /// Records that cannot be used, by key, with the reason.
    pub bad: BTreeMap<String, String>,
}

/// Why an edit was not made.
#[derive(Debug, thiserror::Error)]
pub enum EditError<E> {
    /// The caller's `plan` refused the edit, given the content of the registry.
    Refused(E),
    /// The registry could not be read or written.
    Broker(#[from] BrokerError),
}

/// The registry, opened for reading and editing. Its calls block.
///
/// Concurrent editors cannot overwrite each other: each edit is a Kafka transaction, and all editors share one
/// transactional id. An editor that starts a transaction aborts any other transaction before it reads the registry.
/// The aborted one fails at its commit, has written nothing, and is retried.
pub struct Registry {
    settings: KafkaSettings,
    redactor: Redactor,
    brokers: String,
}

impl Registry {
    /// Opens the registry. Topics that do not exist are created, the registry's topic with `partitions` partitions.
    ///
    /// # Errors
    /// librdkafka rejects the settings, or the brokers do not answer.
    pub async fn open(settings: &KafkaSettings, partitions: u16) -> Result<Self, BrokerError> {
        let redactor = Redactor::new(settings);
        let brokers = servers(settings)?.to_owned();
        let creator = TopicCreator::of_registry(settings, partitions)?;
        timeout(REACH_FOR, creator.run()).await.map_err(|_| BrokerError::Unreachable {
            brokers: brokers.clone(),
            reason: format!("no answer within {} s", REACH_FOR.as_secs()),
        })?;
        Ok(Self { settings: settings.clone(), redactor, brokers })
    }

    /// Reads and returns the content of the registry.
    ///
    /// # Errors
    /// The topic does not exist, or the brokers do not answer or deny access.
    pub fn view(&self) -> Result<RegistryView, BrokerError> {
        let context = QuietContext::new(self.redactor.clone());
        let consumer: BaseConsumer<QuietContext> = self
            .quiet(Use::Admin)?
            // librdkafka requires a group id, but this client joins no group and commits no offsets.
            .set("group.id", "lookout-reader")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "50")
            .set("isolation.level", "read_committed")
            .create_with_context(context)
            .map_err(|error| self.redactor.creation_error(&error))?;
        let topic = &self.settings.topics.cameras;
        let metadata =
            consumer.fetch_metadata(Some(topic), REACH_FOR).map_err(|error| self.unreachable(&error))?;
        let found = metadata.topics().iter().find(|found| found.error().is_none());
        let partitions = found.map_or(0, |found| found.partitions().len());
        if partitions == 0 {
            return Err(BrokerError::NoTopic { topic: topic.clone(), brokers: self.brokers.clone() });
        }
        let mut start = TopicPartitionList::new();
        for partition in found.iter().flat_map(|found| found.partitions()) {
            start
                .add_partition_offset(topic, partition.id(), Offset::Beginning)
                .map_err(|error| self.failed(&error))?;
        }
        consumer.assign(&start).map_err(|error| self.failed(&error))?;
        self.read_to_ends(&consumer, partitions)
    }

    fn read_to_ends(
        &self,
        consumer: &BaseConsumer<QuietContext>,
        mut partitions: usize,
    ) -> Result<RegistryView, BrokerError> {
        let mut view = RegistryView::default();
        let mut quiet_since = Instant::now();
        while partitions > 0 {
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    quiet_since = Instant::now();
                    let key = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
                    view.take(key.clone(), decode_registry_record(&key, message.payload()));
                }
                Some(Err(KafkaError::PartitionEOF(_))) => partitions -= 1,
                Some(Err(error)) if code(&error) == RDKafkaErrorCode::TopicAuthorizationFailed => {
                    return Err(self.failed(&error));
                }
                Some(Err(_)) | None => {}
            }
            if quiet_since.elapsed() > REACH_FOR {
                let reason = format!("{partitions} partitions did not answer");
                return Err(BrokerError::Read { topic: self.settings.topics.cameras.clone(), reason });
            }
        }
        Ok(view)
    }

    /// Makes the edits that `plan` returns for the content of the registry, all of them or none, and returns their
    /// number.
    ///
    /// # Errors
    /// `plan` refuses the edit, or the brokers do.
    pub fn edit<E>(
        &self,
        plan: impl Fn(&RegistryView) -> Result<Vec<Edit>, E>,
    ) -> Result<usize, EditError<E>> {
        let started = Instant::now();
        let mut wait_most = 1;
        loop {
            let tried = Instant::now();
            let producer = self.start_edit()?;
            let edits = plan(&self.view()?).map_err(EditError::Refused)?;
            if edits.is_empty() {
                return Ok(0);
            }
            match self.write(&producer, &edits) {
                Ok(()) => return Ok(edits.len()),
                Err(error) if started.elapsed() < EDIT_FOR && !is_denied(code(&error)) => {
                    tracing::debug!(%error, "an edit conflicted with another one, it is retried");
                    // Binary exponential backoff, as in IEEE 802.3. More conflicts mean more concurrent editors, so
                    // each failed attempt doubles the range of the random wait.
                    wait_most = (wait_most * 2).min(WAIT_MOST);
                    thread::sleep(tried.elapsed().mul_f64(rand::random::<f64>() * f64::from(wait_most)));
                }
                Err(error) => return Err(self.failed(&error).into()),
            }
        }
    }

    /// Starts an edit, which aborts the transactions of all other editors.
    fn start_edit(&self) -> Result<BaseProducer<QuietContext>, BrokerError> {
        let mut config = self.quiet(Use::Produce)?;
        config.remove("message.timeout.ms");
        let producer: BaseProducer<QuietContext> = config
            .set("transactional.id", &self.settings.topics.cameras)
            .set("transaction.timeout.ms", "15000")
            .create_with_context(QuietContext::new(self.redactor.clone()))
            .map_err(|error| self.redactor.creation_error(&error))?;
        producer.init_transactions(REACH_FOR).map_err(|error| self.failed(&error))?;
        Ok(producer)
    }

    fn write(&self, producer: &BaseProducer<QuietContext>, edits: &[Edit]) -> Result<(), KafkaError> {
        producer.begin_transaction()?;
        for edit in edits {
            let (key, payload) = match edit {
                Edit::Put(spec) => (&spec.id, serde_json::to_vec(spec).ok()),
                Edit::Remove(id) => (id, None),
            };
            loop {
                let mut record = BaseRecord::to(&self.settings.topics.cameras).key(key.as_str());
                record.payload = payload.as_deref();
                match producer.send(record) {
                    Ok(()) => break,
                    Err((error, _)) if code(&error) == RDKafkaErrorCode::QueueFull => {
                        producer.poll(Duration::from_millis(10));
                    }
                    Err((error, _)) => return Err(error),
                }
            }
        }
        producer.flush(REACH_FOR)?;
        producer.commit_transaction(REACH_FOR)
    }

    /// Returns the settings of a client that logs nothing, because a conflict with another editor is not a fault.
    fn quiet(&self, purpose: Use) -> Result<ClientConfig, BrokerError> {
        let mut config = client_config(&self.settings, purpose)?;
        if !matches!(config.log_level, RDKafkaLogLevel::Debug) {
            config.set_log_level(RDKafkaLogLevel::Emerg);
        }
        Ok(config)
    }

    fn unreachable(&self, error: &KafkaError) -> BrokerError {
        BrokerError::Unreachable { brokers: self.brokers.clone(), reason: error.to_string() }
    }

    fn failed(&self, error: &KafkaError) -> BrokerError {
        let topic = self.settings.topics.cameras.clone();
        BrokerError::Registry { topic, reason: self.redactor.redact(&error.to_string()) }
    }
}

impl RegistryView {
    fn take(&mut self, key: String, record: RegistryRecord) {
        self.bad.remove(&key);
        if let Ok(id) = key.parse::<CameraId>() {
            self.cameras.remove(&id);
        }
        match record {
            RegistryRecord::Camera(spec) => {
                self.cameras.insert(spec.id.clone(), *spec);
            }
            RegistryRecord::Removed => {}
            RegistryRecord::Bad(why) => {
                self.bad.insert(key, why);
            }
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("brokers", &self.brokers).finish_non_exhaustive()
    }
}
