//! The small server behind `/healthz`, `/readyz` and `/metrics`.

use std::{future::ready, io, net::SocketAddr};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
};
use tokio::{net::TcpListener, sync::watch};

use crate::{Limits, serve_connections};

/// Maximum number of simultaneous connections; a scraper needs one.
const MAX_CONNECTIONS: usize = 256;
const MAX_PER_ADDRESS: usize = 64;

/// The response to a request for a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    status: StatusCode,
    kind: &'static str,
    body: String,
}

impl Page {
    /// Returns a plain-text page with status 200.
    pub fn text(body: impl Into<String>) -> Self {
        Self { status: StatusCode::OK, kind: "text/plain", body: body.into() }
    }

    pub fn json(body: impl Into<String>) -> Self {
        Self { kind: "application/json", ..Self::text(body) }
    }

    /// Returns a page in Prometheus' text format (OpenMetrics 1.0).
    pub fn metrics(body: impl Into<String>) -> Self {
        Self { kind: "application/openmetrics-text; version=1.0.0; charset=utf-8", ..Self::text(body) }
    }

    pub fn not_found(body: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, ..Self::text(body) }
    }

    pub fn failed(body: impl Into<String>) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, ..Self::text(body) }
    }

    /// Returns the same page, with status 503 if `available` is false.
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

/// Binds the address, so that an address in use is detected before anything is started.
///
/// # Errors
/// Returns an error if the address cannot be bound.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address).await?;
    tracing::info!(address = %listener.local_addr()?, "serving health and metrics");
    Ok(listener)
}

/// Serves the pages that `pages` returns for each path, until the task is dropped.
pub async fn serve(listener: TcpListener, pages: impl Fn(&str) -> Page + Clone + Send + Sync + 'static) {
    let (_running, stopped) = watch::channel(false);
    let limits = Limits::new(MAX_CONNECTIONS, MAX_PER_ADDRESS, Vec::new());
    let answer = move |request: Request<Incoming>, _| ready(answer(&request, &pages));
    serve_connections(listener, limits, answer, stopped).await;
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
