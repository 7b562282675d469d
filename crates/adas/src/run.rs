//! `lookout adas`: from the frames' topic to the topics of alerts and tracks.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use lookout_broker::{BrokerError, GroupReader, Heard, RecordWriter};
use lookout_config::AdasSettings;
use lookout_schema::Timestamp;
use lookout_web::Page;
use thiserror::Error;
use tokio::{
    sync::watch,
    task::{self, JoinHandle},
    time::{MissedTickBehavior, interval},
};

use crate::{
    cameras::{Cameras, Told, outcomes},
    metrics::Metrics,
    scribe::Scribe,
};

/// How often it is looked whether records stay away.
const TICK: Duration = Duration::from_millis(100);

/// A loop that has not turned for so long stands still.
const ALIVE_FOR: Duration = Duration::from_secs(10);

/// How long what is to be told at the end may take.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Why it could not be started, or could not go on.
#[derive(Debug, Error)]
pub enum AdasError {
    #[error("adas.http = {address}: {source}")]
    Http { address: SocketAddr, source: io::Error },
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// Stops its task when dropped.
struct Served(JoinHandle<()>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs until `stop` is there; then it ends its alerts and tracks, and leaves its group. To be called within a tokio
/// runtime of several threads.
///
/// # Errors
/// The HTTP address is taken, librdkafka refuses the settings, or the brokers refuse to be read.
pub async fn run(settings: AdasSettings, stop: impl Future<Output = ()>) -> Result<(), AdasError> {
    let metrics = Metrics::new(outcomes());
    let (turned, turns) = watch::channel(Instant::now());
    let _served = match settings.http {
        Some(address) => {
            let listener =
                lookout_web::bind(address).await.map_err(|source| AdasError::Http { address, source })?;
            let pages = pages(Arc::clone(&metrics), turns);
            Some(Served(tokio::spawn(lookout_web::serve(listener, pages))))
        }
        None => None,
    };
    let scribe = Scribe::start(RecordWriter::start(&settings.kafka)?, &metrics);
    let mut reader = GroupReader::join(&settings.kafka, &settings.group)?;
    let publish_tracks = settings.publish_tracks;
    let tell = |told: Told| {
        told.alerts.into_iter().for_each(|alert| scribe.alert(alert));
        told.tracks.into_iter().filter(|_| publish_tracks).for_each(|track| scribe.track(track));
    };
    let mut cameras = Cameras::new(settings, Arc::clone(&metrics), Timestamp::now());
    let mut stop = pin!(stop);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ended = loop {
        let heard = tokio::select! {
            () = &mut stop => break Ok(()),
            _ = ticks.tick() => None,
            heard = reader.next() => match heard {
                Ok(heard) => Some(heard),
                Err(error) => break Err(error),
            },
        };
        let now = Timestamp::now();
        tell(match heard {
            Some(Heard::Record(placed)) => cameras.hear(placed, now),
            Some(Heard::Lost(partitions)) => cameras.lose(&partitions, now),
            None => cameras.tick(now),
        });
        metrics.partitions.set(reader.partitions().len() as i64);
        turned.send_replace(Instant::now());
    };
    tell(cameras.finish(Timestamp::now()));
    scribe.finish(LAST_WORDS).await;
    // Leaving the group waits for the brokers.
    if task::spawn_blocking(move || drop(reader)).await.is_err() {
        tracing::warn!("the group was not left in order");
    }
    Ok(ended?)
}

fn pages(
    metrics: Arc<Metrics>,
    turns: watch::Receiver<Instant>,
) -> impl Fn(&str) -> Page + Clone + Send + Sync + 'static {
    move |path: &str| match path {
        "/healthz" if turns.borrow().elapsed() < ALIVE_FOR => Page::text("ok\n"),
        "/healthz" => Page::text("nothing is heard or looked at any more\n").available(false),
        "/metrics" => match metrics.scrape() {
            Ok(text) => Page::metrics(text),
            Err(error) => Page::failed(format!("{error}\n")),
        },
        _ => Page::not_found("there are /healthz and /metrics\n"),
    }
}
