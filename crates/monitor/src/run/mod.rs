//! The tasks of the monitor and how they are connected.

mod consumer_loop;
mod publish;
mod reading;
mod tracks;
mod webhooks;

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use lookout_broker::RecordWriter;
use lookout_config::Brokers;
use lookout_schema::Timestamp;
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::timeout};

use self::{consumer_loop::ConsumerLoop, webhooks::Hook};
use crate::{
    MonitorError, http,
    page::Overview,
    rules::MonitorSettings,
    shared::{Shared, is_set},
    state::State,
    store::Store,
};

/// A monitor with its listening address and its store, ready to run.
#[derive(Debug)]
pub struct Monitor {
    settings: Arc<MonitorSettings>,
    listener: TcpListener,
    address: SocketAddr,
    store: Store,
    hooks: Vec<Hook>,
}

/// How long the tasks may take to end after the stop.
const DRAIN: Duration = Duration::from_secs(10);
/// Interval of the retention runs of the store.
const RETAIN_EVERY: Duration = Duration::from_secs(600);

impl Monitor {
    /// Opens the store and the listening address. Does not connect to a broker.
    ///
    /// # Errors
    /// The address is in use or must not be served without a token, or the store cannot be opened.
    pub async fn open(settings: MonitorSettings) -> Result<Self, MonitorError> {
        if let Some(what) = MonitorSettings::refusal(settings.http, settings.token.as_ref()) {
            return Err(MonitorError::Refused(what));
        }
        if settings.kafka.brokers == Brokers::Embedded {
            let what = "the embedded broker runs inside the worker: pass the address that `lookout run` printed with \
                        `--brokers`, or set `brokers` in [kafka]";
            return Err(MonitorError::Refused(what.into()));
        }
        let bind = |source| MonitorError::Bind { address: settings.http, source };
        let listener = TcpListener::bind(settings.http).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let hooks = settings.webhooks.iter().cloned().map(Hook::new).collect::<Result<_, _>>()?;
        let store = Store::open(&settings.data, &settings.webhooks)?;
        Ok(Self { settings: Arc::new(settings), listener, address, store, hooks })
    }

    /// Returns the address that the monitor serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs until `stop` completes, then commits the state.
    ///
    /// # Errors
    /// The Kafka client rejects its settings, or a task fails.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), MonitorError> {
        let Self { settings, listener, store, hooks, .. } = self;
        let mut state = State::new(&settings);
        let kept = store.kept().await?;
        state.resume(kept, Timestamp::now());
        let writer = Arc::new(RecordWriter::start(&settings.kafka)?);
        let (shared, asks) = Shared::new(store, Overview::empty(settings.token.is_some()));
        let (stopping, stopped) = watch::channel(false);
        let (ready, is_ready) = watch::channel(false);
        let (tracks, track_inbox) = tracks::channel();

        let mut tasks = JoinSet::new();
        let consumer_loop = ConsumerLoop {
            settings: Arc::clone(&settings),
            shared: Arc::clone(&shared),
            state,
            asks,
            tracks: settings.tracking.publish.then_some(tracks),
        };
        tasks.spawn(consumer_loop.run(ready, stopped.clone()));
        tasks.spawn(tracks::write(track_inbox, Arc::clone(&writer)));
        tasks.spawn(publish::run(Arc::clone(&shared), Arc::clone(&writer), is_ready, stopped.clone()));
        for hook in hooks {
            tasks.spawn(hook.run(Arc::clone(&shared), stopped.clone()));
        }
        tasks.spawn(retain(Arc::clone(&settings), Arc::clone(&shared), stopped.clone()));
        tasks.spawn(http::serve(listener, Arc::clone(&settings), Arc::clone(&shared), stopped));

        let failed = tokio::select! {
            () = stop => None,
            Some(ended) = tasks.join_next() => Some(ended),
        };
        stopping.send_replace(true);
        let rest = async {
            let mut first = failed.map_or(Ok(()), outcome);
            while let Some(ended) = tasks.join_next().await {
                first = first.and(outcome(ended));
            }
            first
        };
        timeout(DRAIN, rest).await.unwrap_or(Err(MonitorError::Stopped("a task did not stop in time")))
    }
}

type Ended = Result<Result<(), MonitorError>, tokio::task::JoinError>;

fn outcome(ended: Ended) -> Result<(), MonitorError> {
    ended.unwrap_or_else(|panic| {
        tracing::error!(%panic, "a task of the monitor panicked");
        Err(MonitorError::Stopped("a task of the monitor panicked"))
    })
}

/// Deletes old rows from the store at regular intervals.
async fn retain(
    settings: Arc<MonitorSettings>,
    shared: Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), MonitorError> {
    loop {
        let oldest = Timestamp::now() - settings.retention;
        if let Err(error) = shared.store.retain(oldest, settings.max_store).await {
            tracing::warn!(%error, "cannot delete old rows from the store");
        }
        if timeout(RETAIN_EVERY, is_set(&mut stopped)).await.is_ok() {
            return Ok(());
        }
    }
}
