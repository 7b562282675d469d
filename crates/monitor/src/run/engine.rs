//! The one that reads: takes records, keeps what they lead to, and tells it.

mod answer;
mod begin;
mod commit;
mod turn;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use lookout_broker::{Places, RecordReader};
use lookout_config::MonitorSettings;
use lookout_schema::{CameraId, Timestamp};
use tokio::{
    sync::{broadcast, mpsc, watch},
    time::{MissedTickBehavior, interval, sleep_until},
};

use super::{Ask, Event, Shared, broker::Watchman, is_set, tracks::Tracks};
use crate::{MonitorError, page::Changes, state::State};

/// What the one that reads is made of.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) settings: Arc<MonitorSettings>,
    pub(super) shared: Arc<Shared>,
    pub(super) state: State,
    pub(super) asks: mpsc::Receiver<Ask>,
    /// None where tracks are not told.
    pub(super) tracks: Option<Tracks>,
}

/// Where it stands.
#[derive(Debug)]
struct Turn {
    watchman: Watchman,
    /// Whether nothing waits to be read, so that what does not come is not there.
    caught_up: bool,
    /// When there was more to read than was taken, last.
    behind: Instant,
    /// When a record was taken that was not fresh, last.
    stale: Instant,
    /// When the brokers were away, last.
    away: Option<Instant>,
    /// When all was kept, and when something was.
    kept: Instant,
    kept_any: Instant,
    told: Instant,
    ticked: Instant,
    records: u64,
    changes: Changes,
    alerts_open: BTreeMap<String, u64>,
    watched: BTreeMap<CameraId, broadcast::Sender<Event>>,
    watched_seen: u64,
    /// When the frames of a camera were told last.
    looked: BTreeMap<CameraId, Instant>,
}

/// Records that are taken before anything else is looked at, and how long that may take.
const BATCH: usize = 2_000;
const BATCH_FOR: Duration = Duration::from_millis(30);
/// From one batch to the next: many records at a time cost less than one by one.
const REST: Duration = Duration::from_millis(25);
const TICK: Duration = Duration::from_millis(100);

impl Engine {
    /// Runs until it is `stopped`. `ready` is set once the alerts' topic was read to its end.
    pub(super) async fn run(
        mut self,
        places: Places,
        ready: watch::Sender<bool>,
        mut stopped: watch::Receiver<bool>,
    ) -> Result<(), MonitorError> {
        let Some(mut reader) = self.begin(places, &mut stopped).await? else { return Ok(()) };
        ready.send_replace(true);
        let mut turn = Turn::new(&self.settings);
        turn.alerts_open = self.shared.store.open_alerts().await?;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut came = None;
            tokio::select! {
                placed = reader.next_placed() => came = placed?,
                _ = ticks.tick() => {}
                Some(ask) = self.asks.recv() => self.answer(ask, &turn),
                () = self.shared.acknowledged.notified() => {
                    turn.alerts_open = self.shared.store.open_alerts().await?;
                }
                () = is_set(&mut stopped) => break,
            }
            let begun = tokio::time::Instant::now();
            let mut more = false;
            if let Some(placed) = came {
                self.state.apply(placed, Timestamp::now());
                more = self.drain(&mut reader, &mut turn)?;
            }
            self.turn(&mut turn, more, &mut stopped).await?;
            if !more {
                sleep_until(begun + REST).await;
            }
        }
        self.finish(&mut turn, &mut stopped).await
    }

    /// Takes what has come; whether there is more of it.
    fn drain(&mut self, reader: &mut RecordReader, turn: &mut Turn) -> Result<bool, MonitorError> {
        let begun = Instant::now();
        turn.watchman.heard(begun);
        turn.records += 1;
        // One look at the clock is enough for a batch.
        let now = Timestamp::now();
        for _ in 0..BATCH {
            let Some(placed) = reader.next_placed().now_or_never() else { return Ok(false) };
            let Some(placed) = placed? else { return Ok(false) };
            self.state.apply(placed, now);
            turn.records += 1;
            if begun.elapsed() > BATCH_FOR {
                break;
            }
        }
        Ok(true)
    }
}
