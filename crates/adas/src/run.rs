//! `lookout adas`: reads the frame records and writes alerts and tracks.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use lookout_broker::{BrokerError, GroupEvent, GroupReader, RecordWriter};
use lookout_config::AdasSettings;
use lookout_schema::Timestamp;
use lookout_web::Page;
use thiserror::Error;
use tokio::{
    sync::watch,
    task::{self, JoinHandle},
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    alert_writer::AlertWriter,
    cameras::{Cameras, Outbound, outcomes},
    metrics::Metrics,
};

/// Interval of the checks for missing records.
const TICK: Duration = Duration::from_millis(100);

/// A loop without an iteration for this time counts as stalled.
const ALIVE_FOR: Duration = Duration::from_secs(10);

/// The wait before a failed Kafka client is replaced.
const REPLACE_AFTER: Duration = Duration::from_secs(2);

/// The health reported by `/healthz`.
#[derive(Debug, Clone)]
struct Health {
    turned: Instant,
    /// Why records are not read or not written.
    trouble: Option<String>,
    partitions: usize,
}

/// How long the last records may take to be written at shutdown.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Why the consumer could not start or continue.
#[derive(Debug, Error)]
pub enum AdasError {
    #[error("cannot listen on {address} (`http` in [adas]): {source}")]
    Http { address: SocketAddr, source: io::Error },
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// Aborts its task when dropped.
struct Served(JoinHandle<()>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs until `stop` completes; then it ends its alerts and tracks, and leaves its consumer group. Requires a
/// multi-threaded tokio runtime.
///
/// # Errors
/// The HTTP address is in use, or librdkafka rejects the settings. Unavailable brokers and refused reads are
/// not errors: they are retried and reported by `/healthz`.
pub async fn run(settings: AdasSettings, stop: impl Future<Output = ()>) -> Result<(), AdasError> {
    let metrics = Metrics::new(outcomes());
    let initial = Health {
        turned: Instant::now(),
        trouble: Some("the consumer group is not joined yet".into()),
        partitions: 0,
    };
    let (health_sender, health) = watch::channel(initial);
    let _served = match settings.http {
        Some(address) => {
            let listener =
                lookout_web::bind(address).await.map_err(|source| AdasError::Http { address, source })?;
            let pages = pages(Arc::clone(&metrics), health);
            Some(Served(tokio::spawn(lookout_web::serve(listener, pages))))
        }
        None => None,
    };
    let alert_writer = AlertWriter::start(RecordWriter::start(&settings.kafka)?, &metrics);
    let (kafka, group) = (settings.kafka.clone(), settings.group.clone());
    let mut reader = GroupReader::join(&kafka, &group)?;
    let (mut lost_before, mut last_check) = (0, Instant::now());
    let publish_tracks = settings.publish_tracks;
    let publish = |outbound: Outbound| {
        outbound.alerts.into_iter().for_each(|alert| alert_writer.alert(alert));
        outbound.tracks.into_iter().filter(|_| publish_tracks).for_each(|track| alert_writer.track(track));
    };
    let mut cameras = Cameras::new(settings, Arc::clone(&metrics), Timestamp::now());
    let mut stop = pin!(stop);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            () = &mut stop => break,
            _ = ticks.tick() => None,
            event = reader.next() => Some(event),
        };
        let now = Timestamp::now();
        let event = match event {
            Some(Err(error)) => {
                tracing::error!(%error, "the Kafka client failed and is replaced");
                let partitions: Vec<i32> = reader.partitions().collect();
                publish(cameras.lose(&partitions, now));
                lost_before += reader.lost();
                tokio::select! {
                    () = &mut stop => break,
                    () = sleep(REPLACE_AFTER) => {}
                }
                leave(std::mem::replace(&mut reader, GroupReader::join(&kafka, &group)?)).await;
                None
            }
            Some(Ok(event)) => Some(event),
            None => None,
        };
        publish(match event {
            Some(GroupEvent::Record(placed)) => cameras.receive(placed, now),
            Some(GroupEvent::Lost(partitions)) => cameras.lose(&partitions, now),
            None => cameras.tick(now),
        });
        let turned = Instant::now();
        if turned.saturating_duration_since(last_check) >= TICK {
            last_check = turned;
            let partitions = reader.partitions().len();
            metrics.partitions.set(partitions as i64);
            metrics.set_deleted(lost_before + reader.lost());
            let trouble = reader.trouble(turned).map(str::to_owned).or_else(|| alert_writer.trouble());
            health_sender.send_replace(Health { turned, trouble, partitions });
        }
    }
    publish(cameras.finish(Timestamp::now()));
    alert_writer.finish(LAST_WORDS).await;
    leave(reader).await;
    Ok(())
}

/// Leaves the consumer group, which blocks until the brokers answer.
async fn leave(reader: GroupReader) {
    if task::spawn_blocking(move || drop(reader)).await.is_err() {
        tracing::warn!("leaving the consumer group failed");
    }
}

impl Health {
    fn page(&self, now: Instant) -> Page {
        if now.saturating_duration_since(self.turned) >= ALIVE_FOR {
            return Page::text("the consumer loop is stalled\n").available(false);
        }
        match &self.trouble {
            Some(reason) => Page::text(format!("{reason}\n")).available(false),
            None if self.partitions == 0 => Page::text("ok: no partition is assigned to this member\n"),
            None => Page::text("ok\n"),
        }
    }
}

fn pages(
    metrics: Arc<Metrics>,
    health: watch::Receiver<Health>,
) -> impl Fn(&str) -> Page + Clone + Send + Sync + 'static {
    move |path: &str| match path {
        "/healthz" => health.borrow().page(Instant::now()),
        "/metrics" => match metrics.scrape() {
            Ok(text) => Page::metrics(text),
            Err(error) => Page::failed(format!("{error}\n")),
        },
        _ => Page::not_found("not found; /healthz and /metrics are served\n"),
    }
}
