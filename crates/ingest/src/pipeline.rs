//! The GStreamer pipeline of one connection: creation, start, bus messages and teardown.

use std::{
    fs::File,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, after, bounded, never, select};
use gst::{glib, prelude::*};
use gstreamer as gst;
use lookout_config::{CameraSettings, SourceUri};
use lookout_schema::RetryReason;
use lookout_stage::Stop;

use crate::{
    Fault,
    appsink::{self, AppsinkSettings, DecodedFrames},
    arrival::Arrivals,
    autoplug, cuda_context, decoder_input, elements, file, gif, guard, keyframe,
    nvcodec::{CameraDecoders, ConnectionDecoders},
    pipe,
    rtp_time::{self, RtpTime},
    rtsp, teardown, transport_stream,
};

/// Initializes GStreamer. May be called more than once.
///
/// # Errors
/// GStreamer cannot be used at all, for example because its plugin scanner cannot run.
pub fn init() -> Result<(), Fault> {
    static READY: OnceLock<Result<(), Fault>> = OnceLock::new();
    let fault = |error: &dyn std::fmt::Display| {
        Fault::new(RetryReason::PipelineError, format!("GStreamer cannot be initialized: {error}"))
    };
    READY
        .get_or_init(|| {
            gst::init().map_err(|error| fault(&error))?;
            autoplug::refuse();
            gif::register().map_err(|error| fault(&error))
        })
        .clone()
}

/// A pipeline that runs until this value is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) decoded_frames: DecodedFrames,
    pub(crate) events: Receiver<Event>,
    pub(crate) arrivals: Arc<Arrivals>,
    pub(crate) decoders: Arc<ConnectionDecoders>,
    damage: Damage,
    /// The number of gaps in the continuity counters of an MPEG transport stream, where packets are missing.
    pub(crate) gaps: Arc<AtomicU64>,
    /// The RTSP client. None for other sources.
    client: Option<rtsp::Client>,
    pipeline: gst::Pipeline,
    /// The named pipe that the pipeline reads.
    input: Option<File>,
    left_behind: LeftBehind,
}

/// Counts a camera's pipelines that are still stopping. Each holds its threads and memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct LeftBehind(Arc<AtomicUsize>);

/// The highest number of a camera's pipelines that may be stopping. At this number it is not reconnected until one
/// of them has stopped.
const MAX_LEFT_BEHIND: usize = 3;

/// State of a camera that is kept from one connection to the next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept<'a> {
    /// Receives the timestamps of RTP packets.
    pub(crate) rtp_time: Option<&'a Arc<RtpTime>>,
    pub(crate) left_behind: &'a LeftBehind,
    pub(crate) habits: &'a Arc<rtsp::Habits>,
    pub(crate) decoders: &'a Arc<CameraDecoders>,
}

impl LeftBehind {
    fn check(&self, uri: &SourceUri) -> Result<(), Fault> {
        let left = self.0.load(Relaxed);
        if left < MAX_LEFT_BEHIND {
            return Ok(());
        }
        let detail = format!(
            "{uri}: {left} earlier connections to it have not stopped, and no new one is opened before one has; if \
             this persists, restart the worker, and report the camera's model and stream format"
        );
        Err(Fault::new(RetryReason::PipelineError, detail))
    }
}

/// The first decoding error that a decoder posted for a single packet.
type Damage = Arc<Mutex<Option<Fault>>>;

/// What a pipeline reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The last frame has left the decoder.
    End,
    Fault(Fault),
}

/// Capacity of the event channel. The first events report the cause, and later ones are consequences of it, so events
/// are dropped when the channel is full.
const EVENTS: usize = 8;

/// How long the pipeline of a live source may take to start.
///
/// The start can block forever on a device or a camera that no longer responds, and the next attempt may find it
/// again. It has no limit for files, which are not tried again.
const START: Duration = Duration::from_secs(10);

impl Connection {
    /// Connects to `settings.uri`, with the state that earlier connections `kept`.
    ///
    /// Frames arrive at [`Connection::decoded_frames`], faults and the end of the stream at [`Connection::events`].
    ///
    /// # Errors
    /// The source is wrong in a way that is detected immediately. If the camera was stopped meanwhile, any fault.
    pub(crate) fn open(
        settings: &CameraSettings,
        appsink_settings: AppsinkSettings,
        kept: Kept<'_>,
        stop: &Stop,
    ) -> Result<Self, Fault> {
        let Kept { rtp_time, left_behind, habits, decoders } = kept;
        left_behind.check(&settings.uri)?;
        let pipeline = gst::Pipeline::new();
        let (sender, events) = bounded(EVENTS);
        let arrivals = Arc::new(Arrivals::default());
        decoder_input::watch(&pipeline, &arrivals);
        let decoders = ConnectionDecoders::new(decoders);
        decoders.watch(&pipeline);
        let gaps = Arc::new(AtomicU64::new(0));
        transport_stream::watch(&pipeline, &gaps);
        if let Some(times) = rtp_time {
            rtp_time::watch(&pipeline, times);
        }
        let faults = sender.clone();
        let on_fault = Arc::new(move |fault| drop(faults.try_send(Event::Fault(fault))));
        let input = match &settings.uri {
            SourceUri::File(path) if pipe::is_pipe(path) => {
                let opened = pipe::open(path, stop).map_err(|error| file::unreadable(path, &error))?;
                let stopped = || Fault::new(RetryReason::PipelineError, "the camera was stopped");
                Some(opened.ok_or_else(stopped)?)
            }
            _ => None,
        };
        let refusals = sender.clone();
        // Refused data give no frame, and the decoder may wait forever for the data that are withheld from it. So
        // the end of the stream is reported as well.
        let refused = Arc::clone(&decoders);
        let refuse: elements::FaultHandler = Arc::new(move |fault| {
            refused.refuse();
            let _ = refusals.try_send(Event::Fault(fault)).and_then(|()| refusals.try_send(Event::End));
        });
        let listeners = elements::Listeners {
            arrivals: &arrivals,
            decoders: &decoders,
            on_fault: on_fault.clone(),
            refuse: Arc::clone(&refuse),
        };
        let (sink, feed) = elements::add(&pipeline, settings, input.as_ref(), listeners)?;
        guard::watch(&pipeline, sink.upcast_ref(), &settings.uri, &refuse);
        let at_end = sender.clone();
        let (ledger, stamper) = (Arc::clone(&appsink_settings.ledger), Arc::clone(&appsink_settings.stamper));
        let decoded_frames = appsink::install(&sink, appsink_settings, Arc::clone(&arrivals), move || {
            let _ = at_end.try_send(Event::End);
        });
        keyframe::watch(
            &pipeline,
            keyframe::Withheld { ledger, stamper, counts: Arc::downgrade(&decoded_frames.counts) },
        );
        let damage = Damage::default();
        let notes = BusNotes {
            arrivals: Arc::clone(&arrivals),
            decoders: Arc::clone(&decoders),
            damage: Arc::clone(&damage),
        };
        listen(&pipeline, settings.uri.clone(), notes, sender)?;
        let left_behind = left_behind.clone();
        let client = None;
        let mut connection = Self {
            decoded_frames,
            events,
            arrivals,
            decoders,
            damage,
            gaps,
            client,
            pipeline,
            input,
            left_behind,
        };
        connection.start(&settings.uri, stop)?;
        if let Some(feed) = feed {
            let client =
                rtsp::Client::start(settings, feed, Arc::clone(habits), move |fault| on_fault(fault))?;
            connection.client = Some(client);
        }
        Ok(connection)
    }

    /// Returns what the RTSP connection currently waits for. None for other sources.
    pub(crate) fn phase(&self) -> Option<rtsp::Phase> {
        self.client.as_ref().map(rtsp::Client::phase)
    }

    /// Returns whether a streaming thread of the pipeline is still running, so that more frames may come.
    pub(crate) fn is_streaming(&self) -> bool {
        let runs = |element: gst::Element| {
            element.pads().iter().any(|pad| pad.task_state() == gst::TaskState::Started)
        };
        // If elements are added or removed during the iteration, the pipeline counts as running.
        self.pipeline.iterate_recurse().into_iter().any(|element| element.map_or(true, runs))
    }

    /// Returns whether the source is a named pipe, whose writer may pause.
    pub(crate) fn reads_pipe(&self) -> bool {
        self.input.is_some()
    }

    /// Returns the first decoding error that a decoder posted for a single packet.
    pub(crate) fn damage(&self) -> Option<Fault> {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn start(&self, uri: &SourceUri, stop: &Stop) -> Result<(), Fault> {
        let pipeline = self.pipeline.clone();
        let patience = uri.is_live().then_some(START);
        match within(patience, stop, "ingest-start", move || pipeline.set_state(gst::State::Playing)) {
            Some(Ok(_)) => Ok(()),
            // The bus handler has received the reason.
            Some(Err(_)) => match self.events.try_iter().find(|event| *event != Event::End) {
                Some(Event::Fault(fault)) => Err(fault),
                _ => Err(Fault::new(
                    RetryReason::PipelineError,
                    format!("{uri}: the pipeline does not start, and GStreamer reports no reason"),
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
        self.decoded_frames.close();
        let client = self.client.as_mut().and_then(rtsp::Client::stop);
        let (pipeline, input) = (self.pipeline.clone(), self.input.take());
        let LeftBehind(left) = self.left_behind.clone();
        left.fetch_add(1, Relaxed);
        teardown::stop(move || {
            // Meanwhile the RTSP client sends TEARDOWN.
            let _ = pipeline.set_state(gst::State::Null);
            if let Some(client) = client {
                let _ = client.join();
            }
            if let Some(bus) = pipeline.bus() {
                bus.unset_sync_handler();
            }
            drop((pipeline, input));
            left.fetch_sub(1, Relaxed);
        });
    }
}

/// Runs `work` on a new thread and returns its result.
///
/// Returns None if the work takes longer than `patience`, or if the camera is stopped. The thread then continues
/// detached.
fn within<T: Send + 'static>(
    patience: Option<Duration>,
    stop: &Stop,
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (done, result) = bounded(1);
    let work = move || {
        let _ = done.send(work());
    };
    let worker = thread::Builder::new().name(name.into()).spawn(work).ok()?;
    let over = patience.map_or_else(never, after);
    let result = select! {
        recv(result) -> result => result.ok()?,
        recv(stop.channel()) -> _ => return None,
        recv(over) -> _ => return None,
    };
    let _ = worker.join();
    Some(result)
}

/// The state that the bus handler reads and updates.
struct BusNotes {
    arrivals: Arc<Arrivals>,
    decoders: Arc<ConnectionDecoders>,
    damage: Damage,
}

/// Forwards the messages on the pipeline's bus to `events`.
///
/// The handler runs on the thread that posts the message, so no thread has to wait for messages or run a main loop.
fn listen(
    pipeline: &gst::Pipeline,
    uri: SourceUri,
    notes: BusNotes,
    events: Sender<Event>,
) -> Result<(), Fault> {
    let BusNotes { arrivals, decoders, damage } = notes;
    let Some(bus) = pipeline.bus() else {
        return Err(Fault::new(RetryReason::PipelineError, "the pipeline has no bus"));
    };
    bus.set_sync_handler(move |_, message| {
        match message.view() {
            gst::MessageView::Error(error) => {
                let fault = Fault::from_bus(&uri, &error.error(), error.debug().as_deref());
                let fault = fault.or_no_video(&uri, &arrivals.others());
                tracing::debug!(%fault, "pipeline error");
                if decoders.note_error(message.src(), &error.error()) {
                    let _ = events.try_send(Event::Fault(fault));
                    return gst::BusSyncReply::Drop;
                }
                let mut damage = damage.lock().unwrap_or_else(PoisonError::into_inner);
                if is_damage(message, &error.error()) {
                    // The decoder continues with the next packet. If it cannot, the demuxer posts an error.
                    damage.get_or_insert(fault);
                } else if error.error().kind::<gst::StreamError>() == Some(gst::StreamError::Failed) {
                    let _ = events.try_send(Event::Fault(damage.take().unwrap_or(fault)));
                } else {
                    let _ = events.try_send(Event::Fault(fault));
                }
            }
            gst::MessageView::Warning(warning) => note_warning(&uri, &warning.error()),
            _ => cuda_context::share_context(message),
        }
        gst::BusSyncReply::Drop
    });
    Ok(())
}

/// Returns whether the message is a decoder's error about a single packet.
///
/// Most decoders only count such packets. `av1dec` posts a library error for each one and continues. A stream error
/// follows if no frame can be decoded.
fn is_damage(message: &gst::Message, error: &glib::Error) -> bool {
    let from = message.src().and_then(|source| source.downcast_ref::<gst::Element>());
    from.is_some_and(decoder_input::is_video_decoder) && error.is::<gst::LibraryError>()
}

fn note_warning(uri: &SourceUri, warning: &glib::Error) {
    let detail = crate::fault::scrub(uri, warning.message());
    tracing::debug!(%uri, detail, "pipeline warning");
}

#[cfg(test)]
mod tests {
    use lookout_stage::stop_signal;

    use super::*;

    #[test]
    fn no_connection_is_opened_while_too_many_earlier_ones_have_not_stopped() {
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
    fn hanging_work_is_abandoned_at_the_time_limit_or_stop() {
        let (guard, stop) = stop_signal();
        let (release, hang) = bounded::<()>(0);
        assert_eq!(within(Some(Duration::from_millis(20)), &stop, "hangs", move || hang.recv()), None);
        assert_eq!(within(None, &stop, "works", || 7), Some(7));
        let (never, hang) = bounded::<()>(0);
        drop(guard);
        assert_eq!(within(None, &stop, "stopped", move || hang.recv()), None);
        drop((release, never));
    }
}
