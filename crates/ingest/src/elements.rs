//! Builds the elements of a camera's pipeline, according to the type of its source.

use std::{fs::File, os::fd::AsRawFd, sync::Arc};

use gst::{glib, prelude::*};
use gstreamer as gst;
use gstreamer_app as app;
use gstreamer_video as video;
use lookout_config::{CameraSettings, SourceUri};
use lookout_schema::RetryReason;

use crate::{
    Fault,
    arrival::Arrivals,
    autoplug,
    container::{self, Container},
    cuda_memory::CUDA_MEMORY,
    decoder_input, demuxer,
    gst_element::{link, make, put},
    nvcodec::ConnectionDecoders,
    rtsp::Feed,
    track_selection,
};

/// A callback for faults of a source that its pipeline does not report as errors.
pub(crate) type FaultHandler = Arc<dyn Fn(Fault) + Send + Sync>;

/// Adds the elements for `settings` to `pipeline`.
///
/// Returns the appsink of the decoded frames and, for RTSP cameras, the [`Feed`] that takes the RTP packets. `pipe` is
/// the open file of a source that is a named pipe.
///
/// # Errors
/// An element is missing or cannot be linked, or the source has no video or an unknown test pattern.
pub(crate) fn add(
    pipeline: &gst::Pipeline,
    settings: &CameraSettings,
    pipe: Option<&File>,
    listeners: Listeners<'_>,
) -> Result<(app::AppSink, Option<Feed>), Fault> {
    let Listeners { arrivals, .. } = listeners;
    let sink = app::AppSink::builder()
        .caps(&frame_caps())
        // No synchronization to the clock: a live source sets its own rate, and a file is decoded as fast as possible.
        .sync(false)
        .async_(false)
        .max_buffers(1)
        .enable_last_sample(false)
        .build();
    sink.set_property("qos", false);
    put(pipeline, sink.upcast_ref())?;
    let mut feed = None;
    match &settings.uri {
        SourceUri::Rtsp { .. } => {
            let decode = decoder(pipeline, &sink, settings, None, listeners)?;
            feed = Some(Feed::add(pipeline, settings, &decode)?);
        }
        SourceUri::File(path) => {
            let source = if let Some(pipe) = pipe {
                // Unlike filesrc, fdsrc can be stopped while the writer of the pipe pauses.
                let source = make("fdsrc")?;
                source.set_property("fd", pipe.as_raw_fd());
                source
            } else {
                let source = make("filesrc")?;
                source.set_property("location", path);
                source
            };
            put(pipeline, &source)?;
            // A file that cannot be read here fails in the pipeline, which reports a better error.
            let container = container::read(path).ok().flatten().map(Arc::new);
            if container.as_ref().is_some_and(|container| container.is_sound_only) {
                return Err(Fault::no_video(&settings.uri));
            }
            demuxer::watch_source(&source, container.clone(), arrivals);
            demuxer::mend(pipeline, container.clone());
            link(&source, &decoder(pipeline, &sink, settings, container, listeners)?)?;
        }
        SourceUri::V4l2(path) => {
            let source = make("v4l2src")?;
            source.set_property("device", path.display().to_string());
            put(pipeline, &source)?;
            link(&source, &decoder(pipeline, &sink, settings, None, listeners)?)?;
        }
        SourceUri::Test(test) => {
            let source = make("videotestsrc")?;
            set_pattern(&source, &test.pattern)?;
            source.set_property("is-live", true);
            put(pipeline, &source)?;
            let shape = make("capsfilter")?;
            let caps = video::VideoCapsBuilder::new()
                .format(video::VideoFormat::I420)
                .width(test.size.width as i32)
                .height(test.size.height as i32)
                .framerate(gst::Fraction::new(test.fps as i32, 1))
                .build();
            shape.set_property("caps", caps);
            put(pipeline, &shape)?;
            link(&source, &shape)?;
            link(&shape, sink.upcast_ref())?;
        }
    }
    Ok((sink, feed))
}

/// Returns the caps of the appsink: raw video in host memory, or in GPU memory from decoders that may leave it there.
fn frame_caps() -> gst::Caps {
    let mut caps = video::VideoCapsBuilder::new().build();
    caps.merge(video::VideoCapsBuilder::new().features([CUDA_MEMORY]).build());
    caps
}

/// The objects and callbacks that are notified of a decoder's streams.
pub(crate) struct Listeners<'a> {
    pub(crate) arrivals: &'a Arc<Arrivals>,
    pub(crate) decoders: &'a Arc<ConnectionDecoders>,
    pub(crate) on_fault: FaultHandler,
    /// Called with the fault of a source whose decoder is not allowed, so that none of its frames are used.
    pub(crate) refuse: FaultHandler,
}

/// Adds a decodebin for data of any format, and links the selected video stream to `sink` once it is known.
fn decoder(
    pipeline: &gst::Pipeline,
    sink: &app::AppSink,
    settings: &CameraSettings,
    container: Option<Arc<Container>>,
    listeners: Listeners<'_>,
) -> Result<gst::Element, Fault> {
    let Listeners { arrivals, decoders, on_fault, refuse } = listeners;
    let decode = make("decodebin")?;
    decode.set_property("caps", gst::Caps::builder("video/x-raw").any_features().build());
    decode.set_property("expose-all-streams", false);
    decoders.sort(&decode);
    let (uri, refused, noted) = (settings.uri.clone(), Arc::clone(&on_fault), Arc::downgrade(arrivals));
    decode.connect("unknown-type", false, move |values| {
        let caps = values.get(2).and_then(|value| value.get::<gst::Caps>().ok())?;
        if let (Some(arrivals), Some(format)) = (noted.upgrade(), caps.structure(0)) {
            arrivals.note_other(format.name());
        }
        if let Some(why) = autoplug::reason(&caps) {
            refused(Fault::refused(&uri, &autoplug::format_name(&caps), why));
        }
        None
    });
    let (sink, uri, arrivals) = (sink.downgrade(), settings.uri.clone(), Arc::downgrade(arrivals));
    let decoders = Arc::downgrade(decoders);
    // At this signal all streams are known, and no frame has left decodebin.
    decode.connect_no_more_pads(move |decode| {
        let Some(entry) = sink.upgrade().and_then(|sink| sink.static_pad("sink")) else { return };
        if entry.is_linked() {
            return;
        }
        let Some(selected) = track_selection::select(decode, container.as_deref()) else {
            return on_fault(Fault::no_video(&uri));
        };
        let chosen = decoders.upgrade().map(|decoders| decoders.select(selected.decoder.as_ref()));
        if let Some(Err(fault)) = chosen {
            return refuse(fault);
        }
        if let (Some(arrivals), Some(decoder)) = (arrivals.upgrade(), &selected.decoder) {
            arrivals.select(decoder_input::id(decoder));
        }
        // If the link fails, no frame arrives, and the camera's timeout ends the connection.
        let _ = selected.pad.link(&entry);
    });
    put(pipeline, &decode)?;
    Ok(decode)
}

fn set_pattern(source: &gst::Element, pattern: &str) -> Result<(), Fault> {
    let known = source
        .find_property("pattern")
        .and_then(|property| glib::EnumClass::with_type(property.value_type()));
    if known.is_none_or(|known| known.value_by_nick(pattern).is_none()) {
        let detail =
            format!("test://{pattern}: videotestsrc has no such pattern; use `ball` or `smpte`, for example");
        return Err(Fault::new(RetryReason::NotFound, detail));
    }
    source.set_property_from_str("pattern", pattern);
    Ok(())
}
