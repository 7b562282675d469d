//! Server-sent events with the changes of the state.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::HeaderName,
    response::{
        IntoResponse, Response,
        sse::{Event as Sent, KeepAlive, Sse},
    },
};
use futures_util::{Stream, stream::unfold};
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, broadcast, watch};

use super::{
    App,
    problem::{Problem, camera_id},
};
use crate::{
    metrics::Metrics,
    shared::{Event, Shared, Watch, is_set},
};

#[derive(Debug, Deserialize)]
pub(super) struct EventsQuery {
    camera: Option<String>,
}

const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Interval of keep-alive comments. A browser or a proxy may close a connection without data.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) async fn events(
    State(app): State<App>,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|error| Problem::wrong(error.body_text()))?;
    let camera =
        query.camera.filter(|camera| !camera.is_empty()).map(|camera| camera_id(&camera)).transpose()?;
    let place = Arc::clone(&app.listeners).try_acquire_owned();
    let place =
        place.map_err(|_| Problem::not_ready(Some("the maximum number of event streams is open".into())))?;
    // Subscribes before the first event is created, so that no change is missed.
    let events = app.shared.events.subscribe();
    let first = Event::new("overview", &**app.shared.overview.borrow());
    let listener = Listener {
        first,
        events,
        watch: camera.map(|camera| app.shared.watch(&camera)),
        stopped: app.stopped.clone(),
        _counted: Counted::new(&app.shared),
        _place: place,
    };
    let stream = Sse::new(listener.stream()).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    // Without this header nginx buffers events.
    Ok(([(ACCEL_BUFFERING, "no")], stream).into_response())
}

/// A browser with an event stream.
struct Listener {
    first: Option<Event>,
    events: broadcast::Receiver<Event>,
    watch: Option<Watch>,
    stopped: watch::Receiver<bool>,
    _counted: Counted,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    /// Returns the event stream. It ends when the monitor stops or the browser lags behind; the browser then
    /// reconnects.
    fn stream(self) -> impl Stream<Item = Result<Sent, Infallible>> {
        unfold(self, |mut listener| async move {
            let event = listener.next().await?;
            Some((Ok(Sent::default().event(event.name).data(&*event.data)), listener))
        })
    }

    async fn next(&mut self) -> Option<Event> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let watched = pin!(async {
            match &mut self.watch {
                Some(watch) => watch.events.recv().await,
                None => std::future::pending().await,
            }
        });
        tokio::select! {
            event = self.events.recv() => event.ok(),
            event = watched => event.ok(),
            () = is_set(&mut self.stopped) => None,
        }
    }
}

/// Counts a browser in the metrics as long as its stream is open.
struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: &Arc<Shared>) -> Self {
        gauge(&shared.metrics).inc();
        Self(Arc::clone(shared))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        gauge(&self.0.metrics).dec();
    }
}

fn gauge(metrics: &Metrics) -> &prometheus_client::metrics::gauge::Gauge {
    &metrics.browsers
}
