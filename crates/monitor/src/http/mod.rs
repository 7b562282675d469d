//! The HTTP server: the web page, its API and events, and the endpoints for machines.

mod alerts;
mod api;
mod assets;
mod auth;
mod client;
mod cookie;
mod events;
mod headers;
mod login;
mod machines;
mod problem;
mod zones;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, DefaultBodyLimit, Request},
    http::{StatusCode, Uri, uri::PathAndQuery},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use lookout_config::MonitorSettings;
use lookout_web::Limits;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    time::timeout,
};
use tower_service::Service;

use self::{auth::Auth, problem::Problem};
use crate::{
    MonitorError,
    shared::{Shared, is_set},
};

/// The state of every handler.
#[derive(Debug, Clone)]
pub(crate) struct App {
    shared: Arc<Shared>,
    settings: Arc<MonitorSettings>,
    auth: Arc<Auth>,
    /// Permits for browsers with an event stream.
    listeners: Arc<Semaphore>,
    stopped: watch::Receiver<bool>,
}

/// The maximum number of concurrent event streams.
const MAX_LISTENERS: usize = 256;
/// The maximum body size in bytes, needed for a camera's zones.
const MAX_BODY: usize = 256 * 1024;
/// The maximum number of concurrent connections, of browsers, programs and machines.
const MAX_CONNECTIONS: usize = 1024;
/// The maximum number of concurrent connections per client address.
const MAX_PER_ADDRESS: usize = 384;
/// The maximum time from a request's header to the header of its response.
const REQUEST_WITHIN: Duration = Duration::from_secs(30);
/// How long requests in progress may take to end at shutdown.
const DRAIN: Duration = Duration::from_secs(3);

/// Serves until `stopped` is set.
pub(crate) async fn serve(
    listener: TcpListener,
    settings: Arc<MonitorSettings>,
    shared: Arc<Shared>,
    stopped: watch::Receiver<bool>,
) -> Result<(), MonitorError> {
    // A trusted proxy holds the connections of many clients, so the limit per address does not apply to it.
    let limits = Limits::new(MAX_CONNECTIONS, MAX_PER_ADDRESS, settings.trusted_proxies.clone());
    let base: Arc<str> = settings.base_path.as_str().into();
    let app = App {
        shared,
        auth: Arc::new(Auth::new(&settings)),
        settings,
        listeners: Arc::new(Semaphore::new(MAX_LISTENERS)),
        stopped: stopped.clone(),
    };
    let router = router(app);
    let answer = move |mut request: axum::http::Request<_>, peer: SocketAddr| {
        request.extensions_mut().insert(ConnectInfo(peer));
        strip(request.uri_mut(), &base);
        // A router is always ready.
        let answer = router.clone().call(request);
        async move { answer.await.unwrap_or_else(|never| match never {}) }
    };
    let served = lookout_web::serve_connections(listener, limits, answer, stopped.clone());
    let mut stopped = stopped;
    tokio::select! {
        () = served => {}
        // A connection that is still open after the drain time is closed.
        () = async { is_set(&mut stopped).await; tokio::time::sleep(DRAIN).await } => {}
    }
    Ok(())
}

/// Removes `base` from the start of a path, for proxies that leave it there. Paths without it are served as
/// well, for proxies that remove it, and for health checks of the monitor's own address.
fn strip(uri: &mut Uri, base: &str) {
    let Some(rest) = uri.path_and_query().and_then(|path| path.as_str().strip_prefix(base)) else { return };
    let rest = match rest.as_bytes().first() {
        Some(b'/') => rest.to_owned(),
        Some(b'?') | None => format!("/{rest}"),
        // `/lookouts` is not under `/lookout`.
        Some(_) => return,
    };
    if let Ok(rest) = rest.parse::<PathAndQuery>() {
        *uri = Uri::from(rest);
    }
}

/// Ends a request that takes too long to arrive or to be answered. Event streams are not affected, because
/// their response header is sent at once.
async fn in_time(request: Request, next: Next) -> Response {
    let answered = timeout(REQUEST_WITHIN, next.run(request)).await;
    answered.unwrap_or_else(|_| {
        let what = format!("the request took longer than {} s", REQUEST_WITHIN.as_secs());
        Problem::new(StatusCode::REQUEST_TIMEOUT, what).into_response()
    })
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
        .route("/webhooks/set-aside", get(alerts::set_aside))
        .route("/events", get(events::events))
        .fallback(async || Problem::not_found("unknown API path; docs/monitor.md lists the API"));
    let pages = Router::new()
        .route("/", get(assets::shell))
        .route("/cameras/{id}", get(assets::shell))
        .route("/alerts", get(assets::shell))
        .route("/fleet", get(assets::shell));
    Router::new()
        .nest("/api", api)
        .merge(pages)
        // All routes above require a login.
        .route_layer(middleware::from_fn_with_state(app.clone(), auth::known))
        .route("/login", get(login::page).post(login::login))
        .route("/logout", post(login::logout))
        .route("/assets/{name}", get(assets::asset))
        .route("/favicon.ico", get(assets::icon))
        .route("/healthz", get(machines::health))
        .route("/metrics", get(machines::metrics))
        .fallback(async || Problem::not_found("page not found"))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(app.clone(), auth::ours))
        .layer(middleware::from_fn_with_state(app.clone(), client::identify))
        .layer(middleware::from_fn(in_time))
        .layer(middleware::from_fn(headers::put))
        .with_state(app)
}

/// How long the consumer loop may take to answer a query.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

impl App {
    /// Sends a query to the consumer loop and returns its answer.
    async fn ask<T>(
        &self,
        ask: impl FnOnce(tokio::sync::oneshot::Sender<Option<T>>) -> crate::shared::StateQuery,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serves_the_same_with_and_without_the_base_path() {
        for (path, expected) in [
            ("/lookout", "/"),
            ("/lookout/", "/"),
            ("/lookout?q=a", "/?q=a"),
            ("/lookout/alerts?state=open", "/alerts?state=open"),
            ("/alerts", "/alerts"),
            ("/lookouts", "/lookouts"),
            ("/healthz", "/healthz"),
        ] {
            let mut uri: Uri = path.parse().unwrap();
            strip(&mut uri, "/lookout");
            assert_eq!(uri.to_string(), expected, "{path}");
        }
        let mut uri: Uri = "/alerts?a=b".parse().unwrap();
        strip(&mut uri, "");
        assert_eq!(uri.to_string(), "/alerts?a=b");
    }
}
