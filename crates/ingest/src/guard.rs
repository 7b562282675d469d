//! Limits on the resources that one camera's data can use, and metadata that GStreamer would lose.
//!
//! The limits are far above what cameras send. Data that exceeds a limit fails only its own source, and before the
//! memory for it is allocated: GLib aborts the process when an allocation fails.
//!
//! Two kinds of metadata are read before the decoder, because GStreamer 1.22 loses them there: the orientation of the
//! frames, and the colorimetry of the coded stream if the container states another.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use gst::prelude::*;
use gstreamer as gst;
use lookout_config::SourceUri;
use lookout_schema::{RetryReason, Size};

use crate::{
    Fault,
    elements::FaultHandler,
    orientation::Orientation,
    sei::{self, Framing},
    still::{self, Header},
};

/// Maximum number of pixels of a frame: twice that of 8K. A decoder keeps up to 17 frames of 1.5 to 8 bytes per pixel.
pub(crate) const MAX_PIXELS: u64 = 1 << 26;
/// Maximum width and height of a frame in pixels.
pub(crate) const MAX_SIDE: u32 = 65_535;
/// Maximum number of tracks of a container. Each needs a thread and a queue.
const MAX_TRACKS: usize = 64;
/// Maximum number of bytes at the start of an image that are searched for its size.
const MAX_HEADER: usize = 1 << 20;

/// The caps field that holds the container's colorimetry until the decoder has set the stream's.
const CONTAINER_COLORIMETRY: &str = "container-colorimetry";

/// Reports the first limit that is exceeded.
#[derive(Clone)]
struct Guard {
    uri: SourceUri,
    on_fault: FaultHandler,
    reported: Arc<AtomicBool>,
}

/// Enforces the limits on `pipeline`, whose decoded frames go to `sink`. `on_fault` gets the fault if one is exceeded.
pub(crate) fn watch(pipeline: &gst::Pipeline, sink: &gst::Element, uri: &SourceUri, on_fault: &FaultHandler) {
    let guard = Guard { uri: uri.clone(), on_fault: Arc::clone(on_fault), reported: Arc::default() };
    if let Some(pad) = sink.static_pad("sink") {
        guard.refuse_caps(&pad);
    }
    let tracks = Arc::new(AtomicUsize::new(0));
    pipeline.connect_deep_element_added(move |_, _, element| {
        let Some(class) = element.factory().and_then(|factory| factory.metadata("klass").map(str::to_owned))
        else {
            return;
        };
        if class.contains("Demux") {
            let (guard, tracks) = (guard.clone(), Arc::clone(&tracks));
            let ended = Arc::clone(&tracks);
            element.connect_pad_added(move |_, pad| {
                if pad.direction() == gst::PadDirection::Src {
                    guard.count_track(&tracks);
                    set_container_colorimetry_aside(pad);
                }
            });
            element.connect_pad_removed(move |_, pad| {
                if pad.direction() == gst::PadDirection::Src {
                    ended.fetch_sub(1, Relaxed);
                }
            });
        } else if class.contains("Decoder") && (class.contains("Video") || class.contains("Image")) {
            if let Some(pad) = element.static_pad("sink") {
                guard.inspect(&pad);
            }
            if let Some(pad) = element.static_pad("src") {
                take_container_colorimetry(&pad, element.downgrade());
            }
        }
    });
}

impl Guard {
    fn report(&self, what: &str) {
        if !self.reported.swap(true, Relaxed) {
            (self.on_fault)(Fault::new(RetryReason::Undecodable, format!("{}: {what}", self.uri)));
        }
    }

    /// Returns whether frames of `size` are within the limits, and reports them if not.
    fn allows(&self, size: Size) -> bool {
        let Size { width, height } = size;
        let allowed = u64::from(width) * u64::from(height) <= MAX_PIXELS && width.max(height) <= MAX_SIDE;
        if !allowed {
            self.report(&format!(
                "its frames have {width}x{height} pixels, but frames of more than {MAX_PIXELS} pixels, or more than \
                 {MAX_SIDE} on a side, are not decoded; lower the resolution in the camera's settings"
            ));
        }
        allowed
    }

    fn count_track(&self, tracks: &AtomicUsize) {
        if tracks.fetch_add(1, Relaxed) >= MAX_TRACKS {
            self.report(&format!(
                "it has more than {MAX_TRACKS} tracks; keep only the video, with `ffmpeg -i IN -map 0:v:0 -c copy OUT`"
            ));
        }
    }

    /// Refuses caps of decoded frames that are too large. A decoder sends this query before it allocates frames.
    fn refuse_caps(&self, pad: &gst::Pad) {
        let guard = self.clone();
        let kinds = gst::PadProbeType::QUERY_DOWNSTREAM | gst::PadProbeType::PUSH;
        pad.add_probe(kinds, move |_, info| {
            if let Some(gst::QueryViewMut::AcceptCaps(query)) = info.query_mut().map(gst::QueryRef::view_mut)
                && let Some(size) = size_of(query.caps())
                && !guard.allows(size)
            {
                query.set_result(false);
                return gst::PadProbeReturn::Handled;
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// Reads frame size and orientation from the data that enters a decoder, and drops data that exceeds a limit.
    fn inspect(&self, pad: &gst::Pad) {
        let (guard, inspector) = (self.clone(), Mutex::new(Inspector::default()));
        let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
        pad.add_probe(kinds, move |pad, info| {
            let mut inspector = inspector.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(gst::EventView::Caps(caps)) = info.event().map(|event| event.view()) {
                inspector.format = Format::of(caps.caps());
                inspector.header.clear();
                inspector.refused = size_of(caps.caps()).is_some_and(|size| !guard.allows(size));
                // Not `Drop`: GStreamer and its Rust bindings would then both release the data.
                return if inspector.refused {
                    gst::PadProbeReturn::Handled
                } else {
                    gst::PadProbeReturn::Ok
                };
            }
            let Some(buffer) = info.buffer() else { return gst::PadProbeReturn::Ok };
            let Header { size, orientation } = inspector.read(buffer);
            inspector.refused |= size.is_some_and(|size| !guard.allows(size));
            if inspector.refused {
                return gst::PadProbeReturn::Handled;
            }
            if let Some(orientation) = orientation.filter(|stated| *stated != inspector.orientation) {
                inspector.orientation = orientation;
                drop(inspector);
                let mut tags = gst::TagList::new();
                if let Some(tags) = tags.get_mut() {
                    tags.add::<gst::tags::ImageOrientation>(&orientation.tag(), gst::TagMergeMode::Replace);
                    // Parsers and decoders merge stream tags with their own, but forward global tags unchanged.
                    tags.set_scope(gst::TagScope::Global);
                }
                pad.send_event(gst::event::Tag::new(tags));
            }
            gst::PadProbeReturn::Ok
        });
    }
}

/// The state of the inspection of one decoder's input.
#[derive(Default)]
struct Inspector {
    format: Format,
    orientation: Orientation,
    /// The start of an image that arrives in several buffers.
    header: Vec<u8>,
    refused: bool,
}

#[derive(Default)]
enum Format {
    Image,
    Vp8,
    Theora,
    Sei(sei::Codec, Framing),
    #[default]
    Other,
}

impl Format {
    fn of(caps: &gst::CapsRef) -> Self {
        let Some(caps) = caps.structure(0) else { return Self::Other };
        match caps.name().as_str() {
            "image/jpeg" | "image/png" | "image/webp" => Self::Image,
            "video/x-vp8" => Self::Vp8,
            "video/x-theora" => Self::Theora,
            "video/x-h264" => Self::Sei(sei::Codec::H264, Framing::of(caps)),
            "video/x-h265" => Self::Sei(sei::Codec::H265, Framing::of(caps)),
            _ => Self::Other,
        }
    }
}

impl Inspector {
    fn read(&mut self, buffer: &gst::BufferRef) -> Header {
        let none = Header::default();
        let Ok(map) = buffer.map_readable() else { return none };
        match &self.format {
            Format::Other => none,
            Format::Sei(codec, framing) => {
                Header { size: None, orientation: sei::orientation(*codec, *framing, &map) }
            }
            Format::Vp8 => Header { size: still::vp8_size(&map), orientation: None },
            Format::Theora => Header { size: still::theora_size(&map), orientation: None },
            Format::Image if self.header.is_empty() && still::starts_image(&map) => {
                let header = still::header(&map);
                if header.is_none() {
                    self.header.extend_from_slice(&map);
                }
                header.unwrap_or_default()
            }
            Format::Image if !self.header.is_empty() => {
                self.header.extend_from_slice(&map);
                let header = still::header(&self.header);
                if header.is_some() || self.header.len() > MAX_HEADER {
                    self.header = Vec::new();
                }
                header.unwrap_or_default()
            }
            Format::Image => none,
        }
    }
}

/// Returns the frame size in `caps`.
fn size_of(caps: &gst::CapsRef) -> Option<Size> {
    let caps = caps.structure(0)?;
    let side = |name| u32::try_from(caps.get::<i32>(name).ok()?).ok();
    Some(Size { width: side("width")?, height: side("height")? })
}

/// Hides the container's colorimetry from parsers and decoders, which would prefer it to the stream's own.
///
/// Where the two differ, the stream's is correct, as in ffmpeg: qtdemux 1.22 drops the full-range flag of a `colr` box.
fn set_container_colorimetry_aside(pad: &gst::Pad) {
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |_, info| {
        let renamed = match info.event().map(|event| event.view()) {
            Some(gst::EventView::Caps(event)) => {
                let mut caps = event.caps_owned();
                caps.make_mut()
                    .structure_mut(0)
                    .and_then(|caps| {
                        let container = caps.get::<String>("colorimetry").ok()?;
                        caps.remove_field("colorimetry");
                        caps.set(CONTAINER_COLORIMETRY, container);
                        Some(())
                    })
                    .map(|()| gst::event::Caps::builder(&caps).seqnum(event.seqnum()).build())
            }
            _ => None,
        };
        if let Some(renamed) = renamed {
            info.data = Some(gst::PadProbeData::Event(renamed));
        }
        gst::PadProbeReturn::Ok
    });
}

/// Sets the container's colorimetry on decoded frames if the stream states none.
fn take_container_colorimetry(pad: &gst::Pad, decoder: gst::glib::WeakRef<gst::Element>) {
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        let stated = || {
            let coded = decoder.upgrade()?.static_pad("sink")?.current_caps()?;
            coded.structure(0)?.get::<String>(CONTAINER_COLORIMETRY).ok()
        };
        let completed = match info.event().map(|event| event.view()) {
            Some(gst::EventView::Caps(event)) => {
                let mut caps = event.caps_owned();
                caps.make_mut()
                    .structure_mut(0)
                    .filter(|caps| !caps.has_field("colorimetry"))
                    .and_then(|caps| {
                        caps.set("colorimetry", stated()?);
                        Some(())
                    })
                    .map(|()| gst::event::Caps::builder(&caps).seqnum(event.seqnum()).build())
            }
            _ => None,
        };
        if let Some(completed) = completed {
            info.data = Some(gst::PadProbeData::Event(completed));
        }
        gst::PadProbeReturn::Ok
    });
}
