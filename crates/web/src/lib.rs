//! The small HTTP server behind `/healthz`, `/readyz` and `/metrics`.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore};

/// Connections at a time; a scraper needs one.
const MAX_CONNECTIONS: usize = 64;
/// A client that has not sent its request by then is let go.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// What answers a request for a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    status: StatusCode,
    kind: &'static str,
    body: String,
}

impl Page {
    /// All is well.
    pub fn text(body: impl Into<String>) -> Self {
        Self { status: StatusCode::OK, kind: "text/plain", body: body.into() }
    }

    pub fn json(body: impl Into<String>) -> Self {
        Self { kind: "application/json", ..Self::text(body) }
    }

    /// In Prometheus' text format (OpenMetrics 1.0).
    pub fn metrics(body: impl Into<String>) -> Self {
        Self { kind: "application/openmetrics-text; version=1.0.0; charset=utf-8", ..Self::text(body) }
    }

    pub fn not_found(body: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, ..Self::text(body) }
    }

    pub fn failed(body: impl Into<String>) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, ..Self::text(body) }
    }

    /// The same page, telling that not all is well where that is so.
    pub fn available(self, available: bool) -> Self {
        if available { self } else { Self { status: StatusCode::SERVICE_UNAVAILABLE, ..self } }
    }

    fn response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
        response
    }
}

/// Opens the address; so that a taken port is found before anything is started.
///
/// # Errors
/// It cannot be opened.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address).await?;
    tracing::info!(address = %listener.local_addr()?, "health and metrics are served");
    Ok(listener)
}

/// Serves what `pages` gives for a path until the task is dropped.
pub async fn serve(listener: TcpListener, pages: impl Fn(&str) -> Page + Clone + Send + Sync + 'static) {
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
                let response = answer(&request, &pages);
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

fn answer(request: &Request<Incoming>, pages: &impl Fn(&str) -> Page) -> Response<Full<Bytes>> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return pages(request.uri().path()).response();
    }
    let refused = Page { status: StatusCode::METHOD_NOT_ALLOWED, ..Page::text("only GET and HEAD\n") };
    let mut response = refused.response();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}
