//! One connection's GStreamer pipeline: made, started, listened to, and thrown away.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded, select};
use gst::{glib, prelude::*};
use gstreamer as gst;
use lookout_config::{CameraSettings, SourceUri};
use lookout_schema::RetryReason;
use lookout_stage::{Stop, stop_signal};

use crate::{
    Fault,
    arrival::Arrivals,
    autoplug, elements, gif,
    tap::{Tap, TapSettings, tap},
};

/// Makes GStreamer ready; may be called any number of times.
///
/// # Errors
/// Where GStreamer cannot be used at all, such as a plugin scanner that cannot run.
pub fn init() -> Result<(), Fault> {
    static READY: OnceLock<Result<(), Fault>> = OnceLock::new();
    let fault = |error: &dyn std::fmt::Display| {
        Fault::new(RetryReason::PipelineError, format!("GStreamer cannot be started: {error}"))
    };
    READY
        .get_or_init(|| {
            gst::init().map_err(|error| fault(&error))?;
            autoplug::refuse();
            gif::register().map_err(|error| fault(&error))
        })
        .clone()
}

/// A pipeline that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) tap: Tap,
    pub(crate) events: Receiver<Event>,
    pub(crate) arrivals: Arc<Arrivals>,
    pipeline: gst::Pipeline,
    left_behind: LeftBehind,
}

/// A camera's pipelines that have not stopped, or not yet: each holds its threads and its memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct LeftBehind(Arc<AtomicUsize>);

/// More pipelines than this of one camera are not left behind: it is not connected to again before one has stopped.
const MAX_LEFT_BEHIND: usize = 3;

impl LeftBehind {
    fn check(&self, uri: &SourceUri) -> Result<(), Fault> {
        let left = self.0.load(Relaxed);
        if left < MAX_LEFT_BEHIND {
            return Ok(());
        }
        let detail = format!(
            "{uri}: {left} earlier connections to it have not stopped, and it is not connected to again before one \
             has; if that lasts, restart the worker, and report what the camera sends"
        );
        Err(Fault::new(RetryReason::PipelineError, detail))
    }
}

/// What a pipeline says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The last frame has left the decoder.
    End,
    Fault(Fault),
}

/// The first events say what happened; those after it follow from it.
const EVENTS: usize = 8;

/// How long a pipeline may take to start, and to stop. Both can hang for ever on a device, a network file
/// system or a camera that no longer answers.
const START: Duration = Duration::from_secs(10);
const STOP: Duration = Duration::from_secs(2);

impl Connection {
    /// Connects to `settings.uri`. Frames come by `tap`, and everything else by `events`.
    ///
    /// # Errors
    /// What is wrong with the source as far as it shows at once; any, where it was stopped meanwhile.
    pub(crate) fn open(
        settings: &CameraSettings,
        tapped: TapSettings,
        left_behind: &LeftBehind,
        stop: &Stop,
    ) -> Result<Self, Fault> {
        left_behind.check(&settings.uri)?;
        let pipeline = gst::Pipeline::new();
        let (sender, events) = bounded(EVENTS);
        let arrivals = Arc::new(Arrivals::default());
        elements::watch_decoders(&pipeline, &arrivals);
        let faults = sender.clone();
        let tell = Arc::new(move |fault| drop(faults.try_send(Event::Fault(fault))));
        let sink = elements::add(&pipeline, settings, tell)?;
        let at_end = sender.clone();
        let tap = tap(&sink, tapped, Arc::clone(&arrivals), move || {
            let _ = at_end.try_send(Event::End);
        });
        listen(&pipeline, settings.uri.clone(), sender)?;
        let connection = Self { tap, events, arrivals, pipeline, left_behind: left_behind.clone() };
        connection.start(&settings.uri, stop)?;
        Ok(connection)
    }

    fn start(&self, uri: &SourceUri, stop: &Stop) -> Result<(), Fault> {
        let pipeline = self.pipeline.clone();
        match within(START, stop, "ingest-start", move || pipeline.set_state(gst::State::Playing)) {
            Some(Ok(_)) => Ok(()),
            // The bus has said why.
            Some(Err(_)) => match self.events.try_iter().find(|event| *event != Event::End) {
                Some(Event::Fault(fault)) => Err(fault),
                _ => Err(Fault::new(
                    RetryReason::PipelineError,
                    format!("{uri}: the pipeline does not start, and GStreamer does not say why"),
                )),
            },
            None => Err(Fault::new(
                RetryReason::Unreachable,
                format!("{uri}: the source did not open within {} s", START.as_secs()),
            )),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.tap.close();
        let pipeline = self.pipeline.clone();
        let begun = Instant::now();
        let (_never_stopped, stop) = stop_signal();
        let LeftBehind(left) = self.left_behind.clone();
        left.fetch_add(1, Relaxed);
        let stopped = within(STOP, &stop, "ingest-stop", move || {
            let _ = pipeline.set_state(gst::State::Null);
            if let Some(bus) = pipeline.bus() {
                bus.unset_sync_handler();
            }
            drop(pipeline);
            left.fetch_sub(1, Relaxed);
        });
        match stopped {
            Some(()) => tracing::trace!(ms = begun.elapsed().as_millis() as u64, "pipeline taken down"),
            None => tracing::error!("a pipeline does not stop and is left behind with its threads"),
        }
    }
}

/// Runs `work` on a thread of its own and gives its result, or none where it takes longer than
/// `patience` or is stopped; then the thread is left to itself.
fn within<T: Send + 'static>(
    patience: Duration,
    stop: &Stop,
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, result) = bounded(1);
    let work = move || {
        let _ = done.send(work());
    };
    let worker = thread::Builder::new().name(name.into()).spawn(work).ok()?;
    let result = select! {
        recv(result) -> result => result.ok()?,
        recv(stop.channel()) -> _ => return None,
        default(patience) => return None,
    };
    let _ = worker.join();
    Some(result)
}

/// Brings what the pipeline posts on its bus to `events`, from the thread that posts it: so no thread has
/// to wait at the bus, and none to run a main loop.
fn listen(pipeline: &gst::Pipeline, uri: SourceUri, events: Sender<Event>) -> Result<(), Fault> {
    let Some(bus) = pipeline.bus() else {
        return Err(Fault::new(RetryReason::PipelineError, "a pipeline without a bus was made"));
    };
    bus.set_sync_handler(move |_, message| {
        match message.view() {
            gst::MessageView::Error(error) => {
                let fault = Fault::from_bus(&uri, &error.error(), error.debug().as_deref());
                tracing::debug!(%fault, "pipeline error");
                let _ = events.try_send(Event::Fault(fault));
            }
            gst::MessageView::Warning(warning) => note_warning(&uri, &warning.error()),
            _ => {}
        }
        gst::BusSyncReply::Drop
    });
    Ok(())
}

fn note_warning(uri: &SourceUri, warning: &glib::Error) {
    let said = crate::fault::scrub(uri, warning.message());
    tracing::debug!(%uri, said, "pipeline warning");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_whose_pipelines_do_not_stop_is_not_connected_to_for_ever() {
        init().unwrap();
        let uri = SourceUri::File("clip.mp4".into());
        let left = LeftBehind::default();
        for _ in 0..MAX_LEFT_BEHIND {
            assert_eq!(left.check(&uri), Ok(()));
            left.0.fetch_add(1, Relaxed);
        }
        let fault = left.check(&uri).unwrap_err();
        assert!(fault.detail.contains("clip.mp4") && fault.detail.contains("3 earlier"), "{fault}");
        left.0.fetch_sub(1, Relaxed);
        assert_eq!(left.check(&uri), Ok(()));
    }

    #[test]
    fn work_that_hangs_is_left_behind() {
        let (guard, stop) = stop_signal();
        let (release, hang) = bounded::<()>(0);
        assert_eq!(within(Duration::from_millis(20), &stop, "hangs", move || hang.recv()), None);
        assert_eq!(within(Duration::from_secs(60), &stop, "works", || 7), Some(7));
        let (never, hang) = bounded::<()>(0);
        drop(guard);
        assert_eq!(within(Duration::from_secs(60), &stop, "stopped", move || hang.recv()), None);
        drop((release, never));
    }
}
