//! `/healthz`, `/readyz` and `/metrics`.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use lookout_schema::Timestamp;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};

use crate::{health::WorkerView, metrics::Metrics};

/// Connections at a time; a scraper needs one.
const MAX_CONNECTIONS: usize = 64;
/// A client that has not sent its request by then is let go.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// What the pages show.
#[derive(Clone)]
pub(crate) struct Pages {
    pub(crate) view: watch::Receiver<WorkerView>,
    pub(crate) metrics: Arc<Metrics>,
}

/// Opens the address; so that a taken port is found before anything is started.
pub(crate) async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address).await?;
    tracing::info!(address = %listener.local_addr()?, "health and metrics are served");
    Ok(listener)
}

/// Serves until the task is dropped.
pub(crate) async fn serve(listener: TcpListener, pages: Pages) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, mostly; it passes.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let pages = pages.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                let response = pages.answer(&request);
                async { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), answer);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an http connection broke off");
            }
            drop(place);
        });
    }
}

impl Pages {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = page(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET and HEAD\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let view = self.view.borrow().clone();
        match request.uri().path() {
            "/healthz" if view.is_alive(Instant::now()) => page(StatusCode::OK, "text/plain", "ok\n"),
            "/healthz" => {
                page(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "the supervisor stands still\n")
            }
            "/readyz" => {
                let readiness = view.readiness(Timestamp::now());
                let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                match serde_json::to_string(&readiness) {
                    Ok(json) => page(status, "application/json", json + "\n"),
                    Err(error) => failed(&error),
                }
            }
            "/metrics" => match self.metrics.scrape(&view.cameras, &view.sink) {
                Ok(text) => {
                    page(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", text)
                }
                Err(error) => failed(&error),
            },
            _ => page(StatusCode::NOT_FOUND, "text/plain", "there are /healthz, /readyz and /metrics\n"),
        }
    }
}

fn page(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn failed(error: &dyn std::fmt::Display) -> Response<Full<Bytes>> {
    page(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n"))
}
