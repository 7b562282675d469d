//! The consumer loop: reads and applies records, commits the results and publishes them.

mod commit;
mod iteration;
mod queries;
mod startup;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::rules::MonitorSettings;
use futures_util::FutureExt;
use lookout_broker::{BrokerError, RecordReader};
use lookout_schema::{CameraId, Timestamp};
use tokio::{
    sync::{broadcast, mpsc, watch},
    time::{MissedTickBehavior, interval, sleep_until},
};

use super::{reading::Reading, tracks::Tracks};
use crate::{
    MonitorError,
    error::StoreError,
    page::Changes,
    shared::{Event, Shared, StateQuery, is_set, locked},
    state::State,
};

/// The consumer loop.
#[derive(Debug)]
pub(super) struct ConsumerLoop {
    pub(super) settings: Arc<MonitorSettings>,
    pub(super) shared: Arc<Shared>,
    pub(super) state: State,
    pub(super) asks: mpsc::Receiver<StateQuery>,
    /// `None` if tracks are not published.
    pub(super) tracks: Option<Tracks>,
}

/// The loop state.
#[derive(Debug)]
struct LoopState {
    reading: Reading,
    /// Whether all records have been read, so that a missing record means that there is none.
    caught_up: bool,
    /// When there were last more records than a batch takes.
    behind: Instant,
    /// When a record that was not fresh was last applied.
    stale: Instant,
    /// When the brokers were last unavailable.
    away: Option<Instant>,
    /// When the whole state was last committed, and when any part of it was.
    kept: Instant,
    kept_any: Instant,
    /// When the web page was last updated.
    page_updated: Instant,
    ticked: Instant,
    /// When the state of the reader was last checked.
    reading_at: Option<Instant>,
    records: u64,
    changes: Changes,
    alerts_open: BTreeMap<String, u64>,
    watched: BTreeMap<CameraId, broadcast::Sender<Event>>,
    watched_seen: u64,
    /// When the tracks of each watched camera were last sent.
    tracks_sent_at: BTreeMap<CameraId, Instant>,
}

/// The maximum number of records per batch, and the maximum duration of a batch.
const BATCH: usize = 2_000;
const BATCH_FOR: Duration = Duration::from_millis(30);
/// The pause between two batches: batches cost less than single records.
const REST: Duration = Duration::from_millis(25);
/// Interval of the checks of the reader.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
const TICK: Duration = Duration::from_millis(100);

impl ConsumerLoop {
    /// Runs until `stopped` is set. Sets `ready` once the topic of the alerts was read to its end.
    pub(super) async fn run(
        mut self,
        ready: watch::Sender<bool>,
        mut stopped: watch::Receiver<bool>,
    ) -> Result<(), MonitorError> {
        let Some(mut reader) = self.open_reader(&mut stopped).await? else { return Ok(()) };
        ready.send_replace(true);
        let mut loop_state = LoopState::new();
        self.count_open(&mut loop_state).await;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (mut came, mut failed) = (None, None);
            tokio::select! {
                placed = reader.next_with_offset() => match placed {
                    Ok(placed) => came = placed,
                    Err(error) => failed = Some(error),
                },
                _ = ticks.tick() => {}
                Some(ask) = self.asks.recv() => self.answer(ask, &loop_state),
                () = self.shared.acknowledged.notified() => {
                    self.count_open(&mut loop_state).await;
                }
                () = is_set(&mut stopped) => break,
            }
            let started = tokio::time::Instant::now();
            let mut more = false;
            if let Some(placed) = came {
                self.state.apply(placed, Timestamp::now());
                (more, failed) = self.drain(&mut reader, &mut loop_state);
            }
            self.check_reader(&reader, &mut loop_state);
            self.iterate(&mut loop_state, more, &mut stopped).await?;
            if let Some(error) = failed {
                tracing::error!(%error, "the Kafka client failed and is replaced");
                let Some(again) = self.open_reader(&mut stopped).await? else { break };
                reader = again;
            }
            if !more {
                sleep_until(started + REST).await;
            }
        }
        self.finish(&mut loop_state, &mut stopped).await
    }

    /// Applies the available records. Returns whether there are more, and the error if reading has failed.
    fn drain(
        &mut self,
        reader: &mut RecordReader,
        loop_state: &mut LoopState,
    ) -> (bool, Option<BrokerError>) {
        let started = Instant::now();
        loop_state.records += 1;
        // One reading of the clock is precise enough for a batch.
        let now = Timestamp::now();
        for _ in 0..BATCH {
            let placed = match reader.next_with_offset().now_or_never() {
                Some(Ok(Some(placed))) => placed,
                Some(Err(error)) => return (false, Some(error)),
                Some(Ok(None)) | None => return (false, None),
            };
            self.state.apply(placed, now);
            loop_state.records += 1;
            if started.elapsed() > BATCH_FOR {
                break;
            }
        }
        (true, None)
    }

    /// Checks the state of the reader.
    fn check_reader(&mut self, reader: &RecordReader, loop_state: &mut LoopState) {
        let now = Instant::now();
        if loop_state.reading_at.is_some_and(|at| now.duration_since(at) < CHECK_INTERVAL) {
            return;
        }
        loop_state.reading_at = Some(now);
        loop_state.reading.update(reader, now);
        self.state.set_topic_ids(reader.topic_ids());
        self.state.counts.deleted.clone_from(reader.lost());
    }

    /// Counts the open alerts. The last counts are kept if the store fails.
    async fn count_open(&self, loop_state: &mut LoopState) {
        match self.shared.store.open_alerts().await {
            Ok(open) => loop_state.alerts_open = open,
            Err(error) => self.store_failed(&error),
        }
    }

    /// Notes a store error that does not stop the monitor.
    fn store_failed(&self, error: &StoreError) {
        let reason = error.to_string();
        let mut health = locked(&self.shared.health);
        if health.store.as_ref() != Some(&reason) {
            tracing::error!(reason, "access to the store failed");
            health.store = Some(reason);
        }
    }
}
