//! Writes committed alerts to their topic.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use lookout_broker::{RecordWriter, Written};
use lookout_schema::Timestamp;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    MonitorError,
    shared::{Shared, is_set, locked},
    store::{TOPIC, Waiting},
};

/// The maximum number of alerts written concurrently.
const WINDOW: i64 = 200;
/// Poll interval of the outbox, in addition to notifications.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// Publishes the alerts of the outbox until `stopped` is set. Starts once `ready` is set, that is, once the
/// topic was read to its end, so that alerts written by an earlier run are not written again.
pub(super) async fn run(
    shared: Arc<Shared>,
    writer: Arc<RecordWriter>,
    mut ready: watch::Receiver<bool>,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), MonitorError> {
    tokio::select! {
        () = is_set(&mut ready) => {}
        () = is_set(&mut stopped) => return Ok(()),
    }
    let mut due = shared.due.subscribe();
    loop {
        due.mark_unchanged();
        let wait = tokio::select! {
            done = step(&shared, &writer) => match done {
                Ok(count) => {
                    if locked(&shared.health).publishing.take().is_some() {
                        tracing::info!("writing of alerts has resumed");
                    }
                    if count > 0 {
                        continue;
                    }
                    POLL_INTERVAL
                }
                Err(error) => {
                    let reason = format!("alerts cannot be written: {error}");
                    let mut health = locked(&shared.health);
                    if health.publishing.as_ref() != Some(&reason) {
                        tracing::warn!(reason, "alerts cannot be written, they wait in the store");
                        health.publishing = Some(reason);
                    }
                    TRY_AGAIN
                }
            },
            () = is_set(&mut stopped) => return Ok(()),
        };
        tokio::select! {
            _ = timeout(wait, due.changed()) => {}
            () = is_set(&mut stopped) => {
                // Alerts of the last commit are published now, if possible, and not only at the next start.
                return step(&shared, &writer).await.map(drop).or(Ok(()));
            }
        }
    }
}

/// Writes one window of waiting alerts and returns how many were written.
async fn step(shared: &Shared, writer: &RecordWriter) -> Result<usize, MonitorError> {
    let waiting = shared.store.waiting(TOPIC.into(), WINDOW).await?;
    let writes = waiting.iter().map(|waiting| write(writer, waiting));
    // The writes are started in order, and the producer keeps the order of each camera.
    let written = join_all(writes).await;
    let mut done = Vec::new();
    let mut refused = None;
    for (waiting, written) in waiting.iter().zip(written) {
        match written {
            Ok(()) => done.push(waiting.seq),
            Err(error) => refused = Some(error),
        }
    }
    shared.metrics.published.inc_by(done.len() as u64);
    let count = done.len();
    if count > 0 {
        shared.store.done(done).await?;
    }
    if let Some(error) = refused {
        sleep(Duration::from_millis(100)).await;
        return Err(error.into());
    }
    Ok(count)
}

async fn write(writer: &RecordWriter, waiting: &Waiting) -> Result<(), lookout_broker::BrokerError> {
    let mut alert = waiting.alert.clone();
    alert.published_at = Timestamp::now();
    alert.age_ms = alert.published_at.ms_since(alert.at);
    writer.write(Written::Alert(&alert)).await
}
