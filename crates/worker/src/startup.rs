//! The start of a worker: the thread that loads the network, and the report of what the worker waits for.

use std::{
    fmt,
    future::pending,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use tokio::sync::oneshot;

use crate::{
    components::{LoadNetwork, Network},
    health::Readiness,
    loading::Loading,
};

/// The network could not be loaded.
#[derive(Debug)]
pub struct NetworkFailed(pub anyhow::Error);

impl fmt::Display for NetworkFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl std::error::Error for NetworkFailed {}

/// The thread that loads the network.
pub(crate) struct Loader {
    pub(crate) loading: Loading,
    pub(crate) loaded: oneshot::Receiver<Result<Network>>,
}

impl Loader {
    pub(crate) fn start(load: LoadNetwork) -> std::io::Result<Self> {
        let (done, loaded) = oneshot::channel();
        let loading = Loading::default();
        loading.start_step("starting");
        let on_thread = loading.clone();
        let work = move || drop(done.send(load(&on_thread)));
        thread::Builder::new().name("network".into()).spawn(work)?;
        Ok(Self { loading, loaded })
    }
}

/// Reports what keeps frames from flowing, until the frames of all cameras flow. Pure: time is an argument.
#[derive(Debug)]
pub(crate) struct StartReport {
    started: Instant,
    last: Option<(String, Instant)>,
    is_ready: bool,
    is_over: bool,
}

/// A log line about the start.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StartLine {
    Waiting {
        what: String,
        elapsed: Duration,
    },
    /// The first frames flow.
    Ready {
        elapsed: Duration,
    },
    /// The frames of all cameras flow.
    AllFlow {
        cameras: usize,
        elapsed: Duration,
    },
}

/// The interval after which an unchanged line is repeated.
const AGAIN: Duration = Duration::from_secs(10);
/// The minimum interval between two changed lines.
const SOONEST: Duration = Duration::from_secs(1);

impl StartReport {
    pub(crate) fn new(started: Instant) -> Self {
        Self { started, last: None, is_ready: false, is_over: false }
    }

    /// Returns the line that is due, if any.
    pub(crate) fn look(&mut self, now: Instant, readiness: &Readiness) -> Option<StartLine> {
        if self.is_over {
            return None;
        }
        let elapsed = now.saturating_duration_since(self.started);
        if readiness.ready && readiness.unseen.is_empty() {
            self.is_over = true;
            return Some(StartLine::AllFlow { cameras: readiness.flowing + readiness.silent.len(), elapsed });
        }
        if readiness.ready && !self.is_ready {
            self.is_ready = true;
            self.last = None;
            return Some(StartLine::Ready { elapsed });
        }
        let what = readiness.waits_for();
        let due = self.last.as_ref().is_none_or(|(last_message, at)| {
            let since = now.saturating_duration_since(*at);
            since >= AGAIN || (*last_message != what && since >= SOONEST)
        });
        due.then(|| {
            self.last = Some((what.clone(), now));
            StartLine::Waiting { what, elapsed }
        })
    }

    /// Returns what the worker waits for, until the frames of all cameras flow.
    pub(crate) fn waiting(&self) -> Option<&str> {
        self.last.as_ref().filter(|_| !self.is_over).map(|(what, _)| what.as_str())
    }
}

impl StartLine {
    pub(crate) fn log(&self) {
        let seconds = |elapsed: &Duration| (elapsed.as_secs_f64() * 10.0).round() / 10.0;
        match self {
            Self::Waiting { what, elapsed } => {
                tracing::info!(elapsed_s = seconds(elapsed), "waiting for {what}");
            }
            Self::Ready { elapsed } => {
                tracing::info!(elapsed_s = seconds(elapsed), "ready: the first records are published");
            }
            Self::AllFlow { cameras, elapsed } => {
                tracing::info!(cameras, elapsed_s = seconds(elapsed), "all cameras publish records");
            }
        }
    }
}

/// Returns the network once it is loaded; never completes if none is being loaded.
pub(crate) async fn loaded(loader: &mut Option<Loader>) -> Result<Network> {
    match loader {
        Some(loader) => match (&mut loader.loaded).await {
            Ok(network) => network,
            Err(_) => Err(anyhow!("the thread that loads the network panicked")),
        },
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(reason: &str) -> Readiness {
        let silent = vec!["a".parse().unwrap()];
        Readiness {
            ready: false,
            reasons: vec![reason.into()],
            flowing: 0,
            unseen: silent.clone(),
            silent,
            warnings: Vec::new(),
        }
    }

    fn ready(unseen: &[&str]) -> Readiness {
        let unseen: Vec<_> = unseen.iter().map(|id| id.parse().unwrap()).collect();
        Readiness {
            ready: true,
            reasons: Vec::new(),
            flowing: 1,
            silent: unseen.clone(),
            unseen,
            warnings: Vec::new(),
        }
    }

    #[test]
    fn a_change_is_reported_within_a_second_and_an_unchanged_reason_every_ten_seconds() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut report = StartReport::new(start);
        let what = |line: Option<StartLine>| match line {
            Some(StartLine::Waiting { what, .. }) => Some(what),
            _ => None,
        };
        assert_eq!(what(report.look(at(0), &waiting("network: reading"))).unwrap(), "network: reading");
        assert_eq!(report.look(at(500), &waiting("network: preparing")), None, "too soon");
        assert_eq!(
            what(report.look(at(1_000), &waiting("network: preparing"))).unwrap(),
            "network: preparing"
        );
        assert_eq!(report.look(at(10_900), &waiting("network: preparing")), None);
        assert!(what(report.look(at(11_000), &waiting("network: preparing"))).is_some());
        assert!(report.waiting().is_some());
    }

    #[test]
    fn the_first_records_and_those_of_all_cameras_are_reported_once() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut report = StartReport::new(start);
        report.look(at(0), &waiting("network: reading"));
        let elapsed = Duration::from_secs(3);
        assert_eq!(report.look(at(3), &ready(&["b"])), Some(StartLine::Ready { elapsed }));
        let line = report.look(at(4), &ready(&["b"]));
        assert!(matches!(&line, Some(StartLine::Waiting { what, .. }) if what.contains('b')), "{line:?}");
        let elapsed = Duration::from_secs(5);
        assert_eq!(report.look(at(5), &ready(&[])), Some(StartLine::AllFlow { cameras: 1, elapsed }));
        assert_eq!(report.look(at(60), &waiting("kafka: away")), None, "nothing is reported after the start");
        assert_eq!(report.waiting(), None);
    }
}
