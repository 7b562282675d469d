//! The state shared by the consumer loop and the HTTP handlers.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use lookout_schema::{CameraId, CameraSpec};
use serde::Serialize;
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};

use crate::{
    latest_snapshots::LatestSnapshots,
    metrics::Metrics,
    page::{Details, Overview},
    state::Bucket,
    store::Store,
};

/// One server-sent event.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) name: &'static str,
    /// The payload as JSON.
    pub(crate) data: Arc<str>,
}

impl Event {
    pub(crate) fn new<T: Serialize>(name: &'static str, what: &T) -> Option<Self> {
        let json = serde_json::to_string(what);
        json.map_err(|error| tracing::error!(name, %error, "cannot serialize an event for the web page"))
            .ok()
            .map(|data| Self { name, data: data.into() })
    }
}

/// A query to the consumer loop.
#[derive(Debug)]
pub(crate) enum StateQuery {
    Details(CameraId, oneshot::Sender<Option<Box<Details>>>),
    /// The bucket of the current minute.
    Bucket(CameraId, oneshot::Sender<Option<Bucket>>),
    /// The camera's record in the registry.
    Spec(CameraId, oneshot::Sender<Option<Box<CameraSpec>>>),
}

/// The state shared by all tasks.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) metrics: Metrics,
    pub(crate) overview: watch::Sender<Arc<Overview>>,
    /// A browser that lags behind is disconnected and reconnects.
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) asks: mpsc::Sender<StateQuery>,
    pub(crate) snapshots: RwLock<LatestSnapshots>,
    watched: Mutex<BTreeMap<CameraId, Watched>>,
    /// Counts the changes of `watched`, so that checking for a change is cheap.
    watched_changes: AtomicU64,
    pub(crate) health: Mutex<Health>,
    /// Counts the commits with new alerts; wakes the tasks that deliver them.
    pub(crate) due: watch::Sender<u64>,
    /// Notified when alerts change other than by records.
    pub(crate) acknowledged: Notify,
}

#[derive(Debug)]
struct Watched {
    browsers: usize,
    events: broadcast::Sender<Event>,
}

/// Whether records are read and committed.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// Why records are not read.
    pub(crate) brokers: Option<String>,
    pub(crate) store: Option<String>,
    /// Why alerts are not written to their topic.
    pub(crate) publishing: Option<String>,
    /// When the consumer loop last completed an iteration.
    pub(crate) turned: Option<Instant>,
}

/// The number of events that a browser may lag behind.
const EVENTS: usize = 512;
/// A consumer loop without an iteration for this time counts as stalled.
const STILL: Duration = Duration::from_secs(30);

impl Shared {
    /// Creates the shared state, and returns it with the receiver of the queries.
    pub(crate) fn new(store: Store, overview: Overview) -> (Arc<Self>, mpsc::Receiver<StateQuery>) {
        let (asks, questions) = mpsc::channel(64);
        let health =
            Health { brokers: Some("reading from Kafka has not started yet".into()), ..Health::default() };
        let shared = Self {
            store,
            metrics: Metrics::new(),
            overview: watch::Sender::new(Arc::new(overview)),
            events: broadcast::Sender::new(EVENTS),
            asks,
            snapshots: RwLock::default(),
            watched: Mutex::default(),
            watched_changes: AtomicU64::new(0),
            health: Mutex::new(health),
            due: watch::Sender::new(0),
            acknowledged: Notify::new(),
        };
        (Arc::new(shared), questions)
    }

    /// Sends an event to all browsers.
    pub(crate) fn send_event<T: Serialize>(&self, name: &'static str, what: &T) {
        if self.events.receiver_count() > 0
            && let Some(event) = Event::new(name, what)
        {
            // There may be no receiver any more.
            let _ = self.events.send(event);
        }
    }

    /// Subscribes to every frame of a camera, until the returned value is dropped.
    pub(crate) fn watch(self: &Arc<Self>, camera: &CameraId) -> Watch {
        let mut watched = locked(&self.watched);
        let known = watched
            .entry(camera.clone())
            .or_insert_with(|| Watched { browsers: 0, events: broadcast::Sender::new(EVENTS) });
        known.browsers += 1;
        let events = known.events.subscribe();
        self.watched_changes.fetch_add(1, Relaxed);
        Watch { shared: Arc::clone(self), camera: camera.clone(), events }
    }

    /// Returns the event senders of the watched cameras, if they have changed since `seen`.
    pub(crate) fn watched(&self, seen: &mut u64) -> Option<BTreeMap<CameraId, broadcast::Sender<Event>>> {
        let now = self.watched_changes.load(Relaxed);
        if std::mem::replace(seen, now) == now {
            return None;
        }
        Some(locked(&self.watched).iter().map(|(id, watched)| (id.clone(), watched.events.clone())).collect())
    }

    /// Returns the most important current failure, if any.
    pub(crate) fn trouble(&self) -> Option<String> {
        let health = locked(&self.health);
        let still = health.turned.is_some_and(|turned| turned.elapsed() > STILL);
        let still = still.then(|| "the consumer loop is stalled".to_owned());
        let damage = self.store.damage().map(str::to_owned);
        damage
            .or_else(|| health.store.clone())
            .or_else(|| health.brokers.clone())
            .or_else(|| health.publishing.clone())
            .or(still)
    }
}

/// Locks a mutex, also if a previous holder panicked.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A browser's subscription to a camera.
pub(crate) struct Watch {
    shared: Arc<Shared>,
    camera: CameraId,
    pub(crate) events: broadcast::Receiver<Event>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = locked(&self.shared.watched);
        if let Some(known) = watched.get_mut(&self.camera) {
            known.browsers -= 1;
            if known.browsers == 0 {
                watched.remove(&self.camera);
            }
        }
        self.shared.watched_changes.fetch_add(1, Relaxed);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("store", &self.store).finish_non_exhaustive()
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("camera", &self.camera).finish_non_exhaustive()
    }
}

/// Returns once the flag is set or its sender is dropped.
pub(crate) async fn is_set(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|set| *set).await;
}
