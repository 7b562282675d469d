//! What is served: the page, its data, its events, and what machines ask for.

mod alerts;
mod api;
mod assets;
mod auth;
mod cookie;
mod events;
mod headers;
mod login;
mod machines;
mod problem;
mod zones;

use std::{fmt::Write as _, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, DefaultBodyLimit},
    http::Request,
    middleware,
    routing::{get, post},
};
use lookout_config::MonitorSettings;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    time::timeout,
};

use self::{auth::Auth, problem::Problem};
use crate::{
    MonitorError,
    run::{Shared, is_set},
};

/// What every handler has.
#[derive(Debug, Clone)]
pub(crate) struct App {
    shared: Arc<Shared>,
    settings: Arc<MonitorSettings>,
    auth: Arc<Auth>,
    /// Places for browsers that listen.
    listeners: Arc<Semaphore>,
    stopped: watch::Receiver<bool>,
}

/// Browsers that listen at a time.
const MAX_LISTENERS: usize = 256;
/// The longest request, in bytes: a camera's zones.
const MAX_BODY: usize = 256 * 1024;
/// How long requests that are under way may take to end.
const DRAIN: Duration = Duration::from_secs(3);

/// Serves until it is `stopped`.
pub(crate) async fn serve(
    listener: TcpListener,
    settings: Arc<MonitorSettings>,
    shared: Arc<Shared>,
    stopped: watch::Receiver<bool>,
) -> Result<(), MonitorError> {
    let address = settings.http;
    let app = App {
        shared,
        auth: Arc::new(Auth::new(&settings)),
        settings,
        listeners: Arc::new(Semaphore::new(MAX_LISTENERS)),
        stopped: stopped.clone(),
    };
    let service = router(app).into_make_service_with_connect_info::<SocketAddr>();
    let mut graceful = stopped.clone();
    let served =
        axum::serve(listener, service).with_graceful_shutdown(async move { is_set(&mut graceful).await });
    let mut stopped = stopped;
    tokio::select! {
        served = served => served.map_err(|source| MonitorError::Bind { address, source }),
        // A connection that goes on is cut off in the end.
        () = async { is_set(&mut stopped).await; tokio::time::sleep(DRAIN).await } => Ok(()),
    }
}

fn router(app: App) -> Router {
    let api = Router::new()
        .route("/overview", get(api::overview))
        .route("/cameras/{id}", get(api::camera))
        .route("/cameras/{id}/history", get(api::history))
        .route("/cameras/{id}/snapshot", get(api::snapshot))
        .route("/cameras/{id}/snapshot.jpg", get(api::jpeg))
        .route("/cameras/{id}/zones", axum::routing::put(zones::put))
        .route("/alerts", get(alerts::list))
        .route("/alerts/acknowledge", post(alerts::acknowledge))
        .route("/events", get(events::events))
        .fallback(async || {
            Problem::not_found("there is no such thing here; docs/monitor.md has what there is")
        });
    let pages = Router::new()
        .route("/", get(assets::shell))
        .route("/cameras/{id}", get(assets::shell))
        .route("/alerts", get(assets::shell))
        .route("/fleet", get(assets::shell));
    Router::new()
        .nest("/api", api)
        .merge(pages)
        // From here up who asks is to be known.
        .route_layer(middleware::from_fn_with_state(app.clone(), auth::known))
        .route("/login", get(login::page).post(login::login))
        .route("/logout", post(login::logout))
        .route("/assets/{name}", get(assets::asset))
        .route("/favicon.ico", get(assets::icon))
        .route("/healthz", get(machines::health))
        .route("/metrics", get(machines::metrics))
        .fallback(async || Problem::not_found("there is no such page"))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(app.clone(), auth::ours))
        .layer(middleware::from_fn(headers::put))
        .with_state(app)
}

/// Who asks, by the address that the connection comes from.
fn peer<B>(request: &Request<B>) -> Option<SocketAddr> {
    request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// How long the one that reads may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

impl App {
    /// What the one that reads answers.
    async fn ask<T>(
        &self,
        ask: impl FnOnce(tokio::sync::oneshot::Sender<Option<T>>) -> crate::run::Ask,
    ) -> Result<Option<T>, Problem> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        let asked = async {
            self.shared.asks.send(ask(answer)).await.ok()?;
            answered.await.ok()
        };
        match timeout(ANSWER_WITHIN, asked).await {
            Ok(Some(answer)) => Ok(answer),
            _ => Err(Problem::not_ready(self.shared.trouble())),
        }
    }
}
