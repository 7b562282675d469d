//! The endpoints `/healthz`, `/readyz` and `/metrics`.

use std::{sync::Arc, time::Instant};

use lookout_schema::Timestamp;
use lookout_web::Page;
use tokio::sync::watch;

use crate::{health::WorkerView, metrics::Metrics};

/// The data that the endpoints show.
#[derive(Clone)]
pub(crate) struct Pages {
    pub(crate) view: watch::Receiver<WorkerView>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Pages {
    pub(crate) fn page(&self, path: &str) -> Page {
        let view = self.view.borrow().clone();
        match path {
            "/healthz" if view.is_alive(Instant::now()) => Page::text("ok\n"),
            "/healthz" => Page::text("the supervisor is stuck\n").available(false),
            "/readyz" => {
                let readiness = view.readiness(Timestamp::now());
                match serde_json::to_string(&readiness) {
                    Ok(json) => Page::json(json + "\n").available(readiness.ready),
                    Err(error) => Page::failed(format!("{error}\n")),
                }
            }
            "/metrics" => match self.metrics.scrape(&view.cameras, &view.sink) {
                Ok(text) => Page::metrics(text),
                Err(error) => Page::failed(format!("{error}\n")),
            },
            _ => Page::not_found("not found; available: /healthz, /readyz and /metrics\n"),
        }
    }
}
