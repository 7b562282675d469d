//! One iteration of the consumer loop after each batch of records.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use lookout_schema::{CameraId, Timestamp};
use serde::Serialize;
use tokio::sync::watch;

use super::{ConsumerLoop, LoopState};
use crate::{
    MonitorError,
    page::{Changes, tracks_view},
    run::reading::Reading,
    shared::{Event, locked},
};

/// Interval of full commits. Alerts, and the state that they depend on, are committed at once.
const COMMIT_INTERVAL: Duration = Duration::from_secs(5);
/// The minimum interval between two commits.
const MIN_COMMIT_INTERVAL: Duration = Duration::from_millis(100);
const PAGE_INTERVAL: Duration = Duration::from_secs(1);
const RULES_INTERVAL: Duration = Duration::from_millis(250);
/// The minimum interval of the track events of a watched camera.
const TRACKS_INTERVAL: Duration = Duration::from_millis(95);
/// A record below this age counts as read when it was written.
const FRESH_MS: i64 = 10_000;
/// The monitor has caught up if no batch left records unread, or all records were fresh, for this time.
const QUIET: Duration = Duration::from_secs(5);
const SETTLE: Duration = Duration::from_secs(15);

/// The event for a new snapshot.
#[derive(Serialize)]
struct SnapshotEvent<'a> {
    camera: &'a CameraId,
    seq: u64,
}

impl LoopState {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            reading: Reading::default(),
            caught_up: false,
            behind: now,
            stale: now,
            away: None,
            kept: now,
            kept_any: now,
            page_updated: now,
            ticked: now,
            reading_at: None,
            records: 0,
            changes: Changes::default(),
            alerts_open: BTreeMap::new(),
            watched: BTreeMap::new(),
            watched_seen: 0,
            tracks_sent_at: BTreeMap::new(),
        }
    }

    /// Updates `caught_up`. `more` is whether records were left unread, `oldest_ms` the highest age of the
    /// records applied.
    fn progress(&mut self, more: bool, oldest_ms: i64, now: Instant) {
        if more {
            self.behind = now;
        }
        if oldest_ms > FRESH_MS {
            self.stale = now;
        }
        if !self.reading.is_sure() {
            self.caught_up = false;
            self.away = Some(now);
            return;
        }
        // After an outage, workers need time to reconnect, and then send the records that they have buffered.
        if self.away.is_some_and(|away| now.duration_since(away) < SETTLE) {
            return;
        }
        let long_ago = |at: Instant| now.duration_since(at) > QUIET;
        self.caught_up |= long_ago(self.behind) || long_ago(self.stale);
    }
}

impl ConsumerLoop {
    pub(super) async fn iterate(
        &mut self,
        loop_state: &mut LoopState,
        more: bool,
        stopped: &mut watch::Receiver<bool>,
    ) -> Result<(), MonitorError> {
        let now = Instant::now();
        {
            let mut health = locked(&self.shared.health);
            health.turned = Some(now);
            if health.brokers.as_deref() != loop_state.reading.trouble() {
                health.brokers = loop_state.reading.trouble().map(str::to_owned);
            }
        }
        loop_state.progress(more, std::mem::take(&mut self.state.counts.oldest_ms), now);
        if now.duration_since(loop_state.ticked) >= RULES_INTERVAL {
            loop_state.ticked = now;
            self.state.tick(Timestamp::now(), loop_state.caught_up);
        }
        self.forward(loop_state, now);
        let all = now.duration_since(loop_state.kept) >= COMMIT_INTERVAL;
        if all || (self.state.is_due() && now.duration_since(loop_state.kept_any) >= MIN_COMMIT_INTERVAL) {
            self.keep(all, loop_state, stopped).await?;
            loop_state.kept_any = now;
            if all {
                loop_state.kept = now;
            }
        }
        if now.duration_since(loop_state.page_updated) >= PAGE_INTERVAL {
            self.update_page(loop_state, now).await;
        }
        Ok(())
    }

    /// Forwards the results that need no commit.
    fn forward(&mut self, loop_state: &mut LoopState, now: Instant) {
        let tracks = std::mem::take(&mut self.state.outbound.tracks);
        if let Some(inbox) = self.tracks.as_ref().filter(|_| !tracks.is_empty()) {
            let count = tracks.len() as u64;
            if inbox.try_send(tracks).is_err() {
                self.shared.metrics.tracks_lost.inc_by(count);
            }
        }
        let snapshots = std::mem::take(&mut self.state.outbound.snapshots);
        if !snapshots.is_empty() {
            let mut shown = self.shared.snapshots.write().unwrap_or_else(PoisonError::into_inner);
            for snapshot in snapshots {
                self.shared
                    .send_event("snapshot", &SnapshotEvent { camera: &snapshot.camera, seq: snapshot.seq });
                shown.put(snapshot);
            }
        }
        for camera in &self.state.outbound.gone {
            self.shared.snapshots.write().unwrap_or_else(PoisonError::into_inner).forget(camera);
        }
        if let Some(watched) = self.shared.watched(&mut loop_state.watched_seen) {
            self.state.watched = watched.keys().cloned().collect();
            loop_state.tracks_sent_at.retain(|camera, _| watched.contains_key(camera));
            loop_state.watched = watched;
        }
        for (camera, seq) in std::mem::take(&mut self.state.outbound.watched_frames) {
            let tracks_sent_at =
                loop_state.tracks_sent_at.entry(camera.clone()).or_insert(now - TRACKS_INTERVAL);
            if now.duration_since(*tracks_sent_at) < TRACKS_INTERVAL {
                continue;
            }
            *tracks_sent_at = now;
            let view = self.state.cameras.get(&camera).and_then(|camera| tracks_view(camera, seq));
            if let Some((view, events)) = view.zip(loop_state.watched.get(&camera))
                && let Some(event) = Event::new("tracks", &view)
            {
                // The browser may just have disconnected.
                let _ = events.send(event);
            }
        }
    }

    /// Updates the overview and the metrics, and sends the changes to the browsers.
    async fn update_page(&mut self, loop_state: &mut LoopState, now: Instant) {
        let seconds = now.duration_since(loop_state.page_updated).as_secs_f64();
        loop_state.page_updated = now;
        self.state.measure(seconds);
        let records_per_s = std::mem::take(&mut loop_state.records) as f64 / seconds;
        let overview = self.overview(loop_state, records_per_s);
        self.shared.metrics.set(&self.state.counts, self.state.cameras.len(), self.state.workers.len());
        self.shared.metrics.alerts_open.set(i64::try_from(overview.alerts_open).unwrap_or(i64::MAX));
        match self.shared.store.size().await {
            Ok(bytes) => drop(self.shared.metrics.store_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX))),
            Err(error) => self.store_failed(&error),
        }
        let changed = loop_state.changes.of(&overview);
        self.shared.overview.send_replace(Arc::new(overview));
        self.shared.send_event("overview", &changed);
    }

    /// Commits the whole state at the end.
    pub(super) async fn finish(
        &mut self,
        loop_state: &mut LoopState,
        stopped: &mut watch::Receiver<bool>,
    ) -> Result<(), MonitorError> {
        self.forward(loop_state, Instant::now());
        self.keep(true, loop_state, stopped).await
    }
}
