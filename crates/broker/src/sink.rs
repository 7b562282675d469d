//! Records to Kafka.

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
use lookout_stage::{RecordSink, Stop, StopOnDrop, Ticket, stop_signal};
use rdkafka::ClientConfig;
use tokio::{runtime, sync::oneshot, time::timeout_at};

use crate::{
    BrokerError, SinkHealth,
    client::{Use, client_config, servers},
    health::Link,
    limits::TopicLimits,
    outbox::{Outbox, Outgoing},
    pump::Pump,
    reports::{Lane, Report},
    topics::TopicCreator,
};

/// How often what was held back is looked at; answers are heard as they come. rdkafka spins for the last
/// millisecond of each turn, so short ones cost.
const TURN: Duration = Duration::from_millis(200);

/// How long a drain waits for snapshots when all else is out.
const FOR_SNAPSHOTS: Duration = Duration::from_secs(2);

/// Takes records to Kafka: acknowledged by all replicas, in each camera's order, without doubles as far
/// as Kafka's idempotent producer reaches.
///
/// While the brokers are away records wait: those of live cameras up to `buffer_records`, beyond which
/// the oldest expire; those of other sources all, and these sources wait with them. Each camera has a share of the
/// window of records in flight, so a partition without a leader holds up the cameras whose records go there, and no
/// other camera.
///
/// So that the records of a camera keep their order whatever the brokers refuse, its next records are sent when they
/// have answered for those before.
pub struct KafkaSink {
    pump: Arc<Pump>,
    format: RecordFormat,
    stop: Option<StopOnDrop>,
    poll: Option<JoinHandle<()>>,
    stop_topics: Option<oneshot::Sender<()>>,
    topics: Option<JoinHandle<()>>,
}

impl KafkaSink {
    /// Starts a sink of frame and status records; see [`KafkaSink::start_for`].
    ///
    /// # Errors
    /// As there.
    pub fn start(settings: &KafkaSettings) -> Result<Self, BrokerError> {
        Self::start_for(settings, &[RecordKind::Frame, RecordKind::Status])
    }

    /// Starts a sink of records of `kinds`. It connects, and creates the topics, in the background: that no broker answers is
    /// no error here.
    ///
    /// # Errors
    /// Settings that librdkafka refuses, or a thread that cannot be started.
    pub fn start_for(settings: &KafkaSettings, kinds: &[RecordKind]) -> Result<Self, BrokerError> {
        let config = client_config(settings, Use::Produce)?;
        let creator = TopicCreator::new(settings, kinds)?;
        let outbox = Outbox::new(settings.buffer_records, queue_bytes(&config));
        let link = Link::new(settings);
        let pump = Pump::start(config, settings.topics.clone(), link, outbox)?;
        let topics: Vec<String> = kinds.iter().map(|kind| settings.topics.of(*kind).to_owned()).collect();
        tracing::info!(
            brokers = servers(settings)?,
            frames = settings.topics.frames,
            status = settings.topics.status,
            "records go to kafka"
        );
        let (stop, stopped) = stop_signal();
        let (stop_topics, topics_stopped) = oneshot::channel();
        // From here on the drop of the sink tidies up.
        let mut sink = Self {
            pump,
            format: settings.format,
            stop: Some(stop),
            poll: None,
            stop_topics: Some(stop_topics),
            topics: None,
        };
        let pump = Arc::clone(&sink.pump);
        sink.poll = Some(spawn("kafka-poll", move || poll(&pump, &stopped))?);
        let pump = Arc::clone(&sink.pump);
        let create = move || see_to_topics(creator, topics, topics_stopped, &pump);
        sink.topics = Some(spawn("kafka-topics", create)?);
        Ok(sink)
    }

    /// How the sink is doing; for `/readyz` and the metrics.
    pub fn health(&self) -> SinkHealth {
        self.pump.health()
    }
}

fn spawn(name: &'static str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, BrokerError> {
    let builder = thread::Builder::new().name(name.into());
    builder.spawn(run).map_err(|source| BrokerError::Thread { name, source })
}

fn poll(pump: &Arc<Pump>, stopped: &Stop) {
    while !stopped.is_stopped() {
        pump.turn(TURN);
    }
    pump.disconnect();
}

/// Creates the topics, then follows what they take.
fn see_to_topics(creator: TopicCreator, topics: Vec<String>, stopped: oneshot::Receiver<()>, pump: &Pump) {
    let runtime = match runtime::Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::warn!(%error, "topics are not created");
            return pump.topics_are_ready();
        }
    };
    runtime.block_on(async {
        let follow = async {
            let mut limits = TopicLimits::new(creator.run().await, topics);
            // Where the limit is not known, batches are as large as configured.
            let _ = limits.tell(pump).await;
            pump.topics_are_ready();
            limits.follow(pump).await;
        };
        tokio::select! {
            () = follow => {}
            _ = stopped => {}
        }
    });
    pump.topics_are_ready();
}

/// How many bytes of records librdkafka holds for a client of `config`.
fn queue_bytes(config: &ClientConfig) -> usize {
    let kbytes = config.get("queue.buffering.max.kbytes").and_then(|kbytes| kbytes.parse().ok());
    kbytes.unwrap_or(65_536usize).saturating_mul(1024)
}

impl RecordSink for KafkaSink {
    fn publish(&self, record: &FrameRecord, ticket: Ticket) {
        let payload = match lookout_wire::encode(record, self.format) {
            Ok(payload) => payload,
            Err(error) => {
                tracing::error!(camera = %record.camera, %error, "a record could not be encoded");
                return ticket.expired(ExpireCause::SinkFailed);
            }
        };
        self.pump.push(Outgoing::new(record.camera.clone(), payload, ticket, Instant::now()));
    }

    fn report(&self, record: &StatusRecord) {
        let key = match record {
            StatusRecord::Camera(camera) => camera.camera.as_str(),
            StatusRecord::Worker(worker) => worker.worker.as_str(),
        };
        match lookout_wire::encode(record, self.format) {
            Ok(payload) => self.pump.report(Lane::Status, Report { key: key.to_owned(), payload }),
            Err(error) => tracing::error!(key, %error, "a status record could not be encoded"),
        }
    }

    fn snapshot(&self, record: &SnapshotRecord) {
        let key = record.camera.to_string();
        match lookout_wire::encode(record, self.format) {
            Ok(payload) => self.pump.report(Lane::Snapshots, Report { key, payload }),
            Err(error) => tracing::error!(key, %error, "a snapshot could not be encoded"),
        }
    }

    /// As the trait says; status records are waited for too, and snapshots for a moment. Where the deadline is reached the sink is
    /// closed, and what comes later expires at once.
    fn drain(&self, deadline: Instant) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            if timeout_at(deadline.into(), self.pump.until_idle()).await.is_ok() {
                let patience = deadline.min(Instant::now() + FOR_SNAPSHOTS);
                let _ = timeout_at(patience.into(), self.pump.until_empty()).await;
            } else {
                let health = self.health();
                tracing::warn!(
                    records = health.outbox + health.in_flight,
                    error = health.last_error,
                    "kafka has not taken all records by the deadline, the rest is given up"
                );
                self.pump.close();
            }
        })
    }
}

impl Drop for KafkaSink {
    fn drop(&mut self) {
        self.pump.close();
        self.stop_topics.take();
        self.stop.take();
        for thread in [self.topics.take(), self.poll.take()].into_iter().flatten() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
        self.pump.disconnect();
    }
}

impl fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSink").field("health", &self.health()).finish_non_exhaustive()
    }
}
