//! The Kafka sink: publishes a worker's records to Kafka.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use lookout_config::KafkaSettings;
use lookout_schema::{ExpireCause, FrameRecord, RecordFormat, RecordKind, SnapshotRecord, StatusRecord};
use lookout_stage::{RecordSink, SinkHealth, Stop, StopOnDrop, Ticket, stop_signal};
use rdkafka::ClientConfig;
use tokio::{runtime, sync::oneshot, time::timeout_at};

use crate::{
    BrokerError,
    client::{Use, client_config, servers},
    connection_state::ConnectionState,
    credentials::Credentials,
    limits::TopicLimits,
    outbox::{Outbox, PendingRecord},
    producer::KafkaProducer,
    report_queues::{Report, ReportKind},
    topics::TopicCreator,
};

/// How often records that were held back are tried again. Delivery reports are handled as they arrive. rdkafka spins
/// for the last millisecond of each poll, so short polls cost CPU time.
const TURN: Duration = Duration::from_millis(200);

/// How long a drain waits for snapshots after all other records were sent.
const FOR_SNAPSHOTS: Duration = Duration::from_secs(2);

/// Publishes records to Kafka: acknowledged by all replicas, in order for each camera, and without duplicates as far
/// as Kafka's idempotent producer prevents them.
///
/// While the brokers are unreachable, records wait. At most `buffer_records` records of live cameras wait, and the
/// oldest expire beyond that. Records of file sources all wait, and their sources stop reading meanwhile. Each camera
/// has a share of the window of records in flight, so a partition without a leader delays only the cameras whose
/// records go to that partition.
///
/// To keep the records of a camera in order even if brokers reject some of them, the sink sends the camera's next
/// records only after the brokers have answered for all earlier ones.
pub struct KafkaSink {
    producer: Arc<KafkaProducer>,
    format: RecordFormat,
    stop: Option<StopOnDrop>,
    poll: Option<JoinHandle<()>>,
    stop_topics: Option<oneshot::Sender<()>>,
    topics: Option<JoinHandle<()>>,
}

impl KafkaSink {
    /// Starts a sink for frame and status records; see [`KafkaSink::start_for`].
    ///
    /// # Errors
    /// See [`KafkaSink::start_for`].
    pub fn start(settings: &KafkaSettings) -> Result<Self, BrokerError> {
        Self::start_for(settings, &[RecordKind::Frame, RecordKind::Status])
    }

    /// Starts a sink for records of `kinds`. It connects and creates the topics in the background, so an unreachable
    /// broker is not an error here.
    ///
    /// # Errors
    /// librdkafka rejects the settings, or a thread cannot be started.
    pub fn start_for(settings: &KafkaSettings, kinds: &[RecordKind]) -> Result<Self, BrokerError> {
        let config = client_config(settings, Use::Produce)?;
        let creator = TopicCreator::new(settings, kinds)?;
        let outbox = Outbox::new(settings.buffer_records, queue_bytes(&config));
        let link = ConnectionState::new(settings);
        let producer =
            KafkaProducer::start(config, Credentials::new(settings), settings.topics.clone(), link, outbox)?;
        let topics: Vec<String> = kinds.iter().map(|kind| settings.topics.of(*kind).to_owned()).collect();
        tracing::info!(
            brokers = servers(settings)?,
            frames = settings.topics.frames,
            status = settings.topics.status,
            "publishing records to kafka"
        );
        let (stop, stopped) = stop_signal();
        let (stop_topics, topics_stopped) = oneshot::channel();
        // From here on, dropping the sink stops its threads.
        let mut sink = Self {
            producer,
            format: settings.format,
            stop: Some(stop),
            poll: None,
            stop_topics: Some(stop_topics),
            topics: None,
        };
        let producer = Arc::clone(&sink.producer);
        sink.poll = Some(spawn("kafka-poll", move || poll(&producer, &stopped))?);
        let producer = Arc::clone(&sink.producer);
        let create = move || see_to_topics(creator, topics, topics_stopped, &producer);
        sink.topics = Some(spawn("kafka-topics", create)?);
        Ok(sink)
    }

    /// Returns the state of the sink, for `/readyz` and the metrics.
    pub fn health(&self) -> SinkHealth {
        self.producer.health()
    }
}

fn spawn(name: &'static str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, BrokerError> {
    let builder = thread::Builder::new().name(name.into());
    builder.spawn(run).map_err(|source| BrokerError::Thread { name, source })
}

fn poll(producer: &Arc<KafkaProducer>, stopped: &Stop) {
    while !stopped.is_stopped() {
        producer.poll(TURN);
    }
    producer.disconnect();
}

/// Creates the topics, then watches their limits until stopped.
fn see_to_topics(
    creator: TopicCreator,
    topics: Vec<String>,
    stopped: oneshot::Receiver<()>,
    producer: &KafkaProducer,
) {
    let runtime = match runtime::Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::warn!(%error, "the topics could not be created");
            return producer.topics_are_ready();
        }
    };
    runtime.block_on(async {
        let follow = async {
            let mut limits = TopicLimits::new(creator.run().await, topics);
            // If the limit is not known, batches have the configured size.
            let _ = limits.update_producer(producer).await;
            producer.topics_are_ready();
            limits.follow(producer).await;
        };
        tokio::select! {
            () = follow => {}
            _ = stopped => {}
        }
    });
    producer.topics_are_ready();
}

/// Returns how many bytes of records librdkafka queues for a client of `config`.
fn queue_bytes(config: &ClientConfig) -> usize {
    let kbytes = config.get("queue.buffering.max.kbytes").and_then(|kbytes| kbytes.parse().ok());
    kbytes.unwrap_or(65_536usize).saturating_mul(1024)
}

impl RecordSink for KafkaSink {
    fn publish(&self, record: &FrameRecord, ticket: Ticket) {
        let payload = match lookout_wire::encode(record, self.format) {
            Ok(payload) => payload,
            Err(error) => {
                tracing::error!(camera = %record.camera, %error, "a frame record could not be encoded");
                return ticket.expired(ExpireCause::SinkFailed);
            }
        };
        self.producer.push(PendingRecord::new(record.camera.clone(), payload, ticket, Instant::now()));
    }

    fn report(&self, record: &StatusRecord) {
        let key = match record {
            StatusRecord::Camera(camera) => camera.camera.as_str(),
            StatusRecord::Worker(worker) => worker.worker.as_str(),
        };
        match lookout_wire::encode(record, self.format) {
            Ok(payload) => self.producer.report(ReportKind::Status, Report { key: key.to_owned(), payload }),
            Err(error) => tracing::error!(key, %error, "a status record could not be encoded"),
        }
    }

    fn snapshot(&self, record: &SnapshotRecord) {
        let key = record.camera.to_string();
        match lookout_wire::encode(record, self.format) {
            Ok(payload) => self.producer.report(ReportKind::Snapshot, Report { key, payload }),
            Err(error) => tracing::error!(key, %error, "a snapshot could not be encoded"),
        }
    }

    /// Drains as the trait specifies. Also waits for status records, and for snapshots up to `FOR_SNAPSHOTS`. At the
    /// deadline, the sink is closed, and later records expire at once.
    fn drain(&self, deadline: Instant) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            if timeout_at(deadline.into(), self.producer.until_idle()).await.is_ok() {
                let patience = deadline.min(Instant::now() + FOR_SNAPSHOTS);
                let _ = timeout_at(patience.into(), self.producer.until_empty()).await;
            } else {
                let health = self.health();
                tracing::warn!(
                    records = health.outbox + health.in_flight,
                    error = health.last_error,
                    "kafka has not acknowledged all records by the drain deadline, the others are dropped"
                );
                self.producer.close();
            }
        })
    }
}

impl Drop for KafkaSink {
    fn drop(&mut self) {
        self.producer.close();
        self.stop_topics.take();
        self.stop.take();
        for thread in [self.topics.take(), self.poll.take()].into_iter().flatten() {
            // A thread that panicked has already logged it.
            let _ = thread.join();
        }
        self.producer.disconnect();
    }
}

impl fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSink").field("health", &self.health()).finish_non_exhaustive()
    }
}
