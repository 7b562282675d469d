//! A GStreamer element that decodes still and animated GIF images.
//!
//! The only GIF decoder of GStreamer 1.22 is gst-libav's `avdemux_gif`, which is refused (see `autoplug.rs`). The
//! `gif` crate parses the file. The `image` crate, which also composes frames, is not used, because it would be built
//! with other features than in the rest of the workspace.

use gst::{glib, prelude::*};
use gstreamer as gst;

use crate::guard::{MAX_PIXELS, MAX_SIDE};

glib::wrapper! {
    /// Decodes `image/gif` into one buffer per frame, with the duration that the file states.
    pub(crate) struct GifDecoder(ObjectSubclass<imp::GifDecoder>) @extends gst::Element, gst::Object;
}

/// The element's name.
pub(crate) const NAME: &str = "lookoutgifdec";

/// Registers the element, so that decodebin finds it.
pub(crate) fn register() -> Result<(), glib::BoolError> {
    gst::Element::register(None, NAME, gst::Rank::PRIMARY, GifDecoder::static_type())
}

/// Maximum size of a file in bytes. The whole file is read into memory.
const MAX_BYTES: usize = 64 << 20;

/// The unit of a frame's delay. As in browsers and ffmpeg, a delay below `MIN_DELAY` units is replaced by
/// `USUAL_DELAY` units.
const DELAY: gst::ClockTime = gst::ClockTime::from_mseconds(10);
const MIN_DELAY: u16 = 2;
const USUAL_DELAY: u16 = 10;

mod imp {
    use std::sync::{LazyLock, Mutex, PoisonError};

    use gst::subclass::prelude::*;
    use gstreamer_video as video;

    use super::*;

    #[derive(Debug)]
    pub(crate) struct GifDecoder {
        sink: gst::Pad,
        src: gst::Pad,
        file: Mutex<Vec<u8>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for GifDecoder {
        const NAME: &'static str = "LookoutGifDecoder";
        type Type = super::GifDecoder;
        type ParentType = gst::Element;

        fn with_class(class: &Self::Class) -> Self {
            let sink = class.pad_template("sink").map(|template| {
                gst::Pad::builder_from_template(&template)
                    .chain_function(|_, parent, buffer| {
                        let failed = || Err(gst::FlowError::Error);
                        Self::catch_panic_pad_function(parent, failed, |decoder| decoder.chain(&buffer))
                    })
                    .event_function(|pad, parent, event| {
                        Self::catch_panic_pad_function(parent, || false, |decoder| decoder.event(pad, event))
                    })
                    .build()
            });
            let src = class.pad_template("src").map(|template| gst::Pad::from_template(&template));
            Self {
                sink: sink.unwrap_or_else(|| gst::Pad::new(gst::PadDirection::Sink)),
                src: src.unwrap_or_else(|| gst::Pad::new(gst::PadDirection::Src)),
                file: Mutex::default(),
            }
        }
    }

    impl ObjectImpl for GifDecoder {
        fn constructed(&self) {
            self.parent_constructed();
            for pad in [&self.sink, &self.src] {
                if let Err(error) = self.obj().add_pad(pad) {
                    tracing::error!(%error, "a pad of the GIF decoder could not be added");
                }
            }
        }
    }

    impl GstObjectImpl for GifDecoder {}

    impl ElementImpl for GifDecoder {
        fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
            static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
                gst::subclass::ElementMetadata::new(
                    "GIF decoder",
                    "Codec/Decoder/Image",
                    "Decodes still and animated GIF images",
                    "Lookout",
                )
            });
            Some(&METADATA)
        }

        fn pad_templates() -> &'static [gst::PadTemplate] {
            static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
                let always = gst::PadPresence::Always;
                let raw = video::VideoCapsBuilder::new().format(video::VideoFormat::Rgbx).build();
                let gif = gst::Caps::new_empty_simple("image/gif");
                [("sink", gst::PadDirection::Sink, gif), ("src", gst::PadDirection::Src, raw)]
                    .into_iter()
                    .filter_map(|(name, direction, caps)| {
                        gst::PadTemplate::new(name, direction, always, &caps).ok()
                    })
                    .collect()
            });
            &TEMPLATES
        }

        fn change_state(
            &self,
            transition: gst::StateChange,
        ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
            if transition == gst::StateChange::ReadyToPaused {
                self.file().clear();
            }
            self.parent_change_state(transition)
        }
    }

    impl GifDecoder {
        fn file(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
            // Bytes are only appended, so the data behind a poisoned lock is still valid.
            self.file.lock().unwrap_or_else(PoisonError::into_inner)
        }

        fn chain(&self, buffer: &gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
            let map = buffer.map_readable().map_err(|_| gst::FlowError::Error)?;
            let mut file = self.file();
            if file.len() + map.size() > MAX_BYTES {
                drop(file);
                let limit = MAX_BYTES >> 20;
                gst::element_imp_error!(
                    self,
                    gst::StreamError::Decode,
                    ["GIF files of more than {limit} MiB are not supported; convert it to a video"]
                );
                return Err(gst::FlowError::Error);
            }
            file.extend_from_slice(map.as_slice());
            Ok(gst::FlowSuccess::Ok)
        }

        fn event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
            match event.view() {
                // The source pad gets its own caps and segment when the size is known.
                gst::EventView::Caps(_) | gst::EventView::Segment(_) => true,
                gst::EventView::FlushStop(_) => {
                    self.file().clear();
                    gst::Pad::event_default(pad, Some(&*self.obj()), event)
                }
                gst::EventView::Eos(_) => {
                    let file = std::mem::take(&mut *self.file());
                    if let Err(error) = self.decode(&file) {
                        gst::element_imp_error!(self, gst::StreamError::Decode, ["{error}"]);
                    }
                    gst::Pad::event_default(pad, Some(&*self.obj()), event)
                }
                _ => gst::Pad::event_default(pad, Some(&*self.obj()), event),
            }
        }

        /// Decodes `file` and pushes its frames until the downstream element refuses one.
        fn decode(&self, file: &[u8]) -> Result<(), String> {
            let mut frames = Frames::new(file)?;
            let (width, height) = frames.size();
            let caps = video::VideoInfo::builder(video::VideoFormat::Rgbx, width, height)
                .build()
                .and_then(|info| info.to_caps())
                .map_err(|error| error.to_string())?;
            let segment = gst::FormattedSegment::<gst::ClockTime>::new();
            let taken = self.src.push_event(gst::event::Caps::new(&caps))
                && self.src.push_event(gst::event::Segment::new(&segment));
            if !taken {
                return Ok(());
            }
            let mut pts = gst::ClockTime::ZERO;
            while let Some(delay) = frames.next()? {
                let mut buffer = gst::Buffer::from_mut_slice(frames.canvas.clone());
                if let Some(buffer) = buffer.get_mut() {
                    buffer.set_pts(pts);
                    buffer.set_duration(delay);
                }
                pts += delay;
                if self.src.push(buffer).is_err() {
                    break;
                }
            }
            Ok(())
        }
    }
}

/// Iterates over the frames of a GIF. Each is drawn over the earlier ones according to their disposal methods.
struct Frames<'a> {
    decoder: gif::Decoder<&'a [u8]>,
    /// The whole image in RGBx. Pixels that no frame covers are white.
    canvas: Vec<u8>,
    /// How the last frame is removed before the next one is drawn.
    disposal: Disposal,
    number: u64,
}

enum Disposal {
    Keep,
    Clear(Area),
    Restore(Vec<u8>),
}

/// The part of the canvas that a frame covers.
#[derive(Clone, Copy)]
struct Area {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

impl<'a> Frames<'a> {
    fn new(file: &'a [u8]) -> Result<Self, String> {
        let mut options = gif::DecodeOptions::new();
        options.set_color_output(gif::ColorOutput::RGBA);
        options.allow_unknown_blocks(true);
        options.set_memory_limit(gif::MemoryLimit::Bytes(
            (MAX_PIXELS * 4).try_into().unwrap_or(std::num::NonZeroU64::MIN),
        ));
        let decoder = options.read_info(file).map_err(|error| format!("the GIF is damaged: {error}"))?;
        let (width, height) = (u64::from(decoder.width()), u64::from(decoder.height()));
        if width * height > MAX_PIXELS || width.max(height) > u64::from(MAX_SIDE) || width * height == 0 {
            return Err(format!("the GIF's size of {width}x{height} pixels is not supported"));
        }
        let canvas = vec![255; width as usize * height as usize * 4];
        Ok(Self { decoder, canvas, disposal: Disposal::Keep, number: 0 })
    }

    fn size(&self) -> (u32, u32) {
        (self.decoder.width().into(), self.decoder.height().into())
    }

    /// Draws the next frame and returns its duration, or None after the last frame.
    fn next(&mut self) -> Result<Option<gst::ClockTime>, String> {
        let (row_bytes, height) = (usize::from(self.decoder.width()) * 4, usize::from(self.decoder.height()));
        let frame = match self.decoder.read_next_frame() {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(None),
            Err(error) => return Err(format!("the GIF is damaged after {} frames: {error}", self.number)),
        };
        match std::mem::replace(&mut self.disposal, Disposal::Keep) {
            Disposal::Keep => {}
            Disposal::Clear(area) => {
                area.rows(&mut self.canvas, row_bytes, height).for_each(|row| row.fill(255));
            }
            Disposal::Restore(canvas) => self.canvas = canvas,
        }
        let [left, top, width, rows] = [frame.left, frame.top, frame.width, frame.height].map(usize::from);
        let area = Area { left, top, width, height: rows };
        self.disposal = match frame.dispose {
            gif::DisposalMethod::Any | gif::DisposalMethod::Keep => Disposal::Keep,
            gif::DisposalMethod::Background => Disposal::Clear(area),
            gif::DisposalMethod::Previous => Disposal::Restore(self.canvas.clone()),
        };
        let drawn = frame.buffer.chunks_exact((width * 4).max(1));
        for (to, from) in area.rows(&mut self.canvas, row_bytes, height).zip(drawn) {
            for (to, from) in to.chunks_exact_mut(4).zip(from.chunks_exact(4)) {
                if from[3] != 0 {
                    to.copy_from_slice(from);
                }
            }
        }
        self.number += 1;
        let delay = if frame.delay < MIN_DELAY { USUAL_DELAY } else { frame.delay };
        Ok(Some(DELAY * u64::from(delay)))
    }
}

impl Area {
    /// Returns the area's rows, clipped to a canvas of `height` rows of `row_bytes` bytes.
    fn rows(self, canvas: &mut [u8], row_bytes: usize, height: usize) -> impl Iterator<Item = &mut [u8]> {
        let left = (self.left * 4).min(row_bytes);
        let right = ((self.left + self.width) * 4).min(row_bytes);
        let rows = self.height.min(height.saturating_sub(self.top));
        canvas
            .chunks_exact_mut(row_bytes.max(1))
            .skip(self.top)
            .take(rows)
            .map(move |row| &mut row[left..right])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a GIF of 4x1 pixels with the colors red, green, blue and transparent. Each of `frames` has a left edge,
    /// color indices, a delay and a disposal method.
    fn gif(frames: &[(u16, &[u8], u16, gif::DisposalMethod)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let palette = [255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9];
        let mut encoder = gif::Encoder::new(&mut bytes, 4, 1, &palette).unwrap();
        for (left, indices, delay, dispose) in frames {
            let frame = gif::Frame {
                left: *left,
                width: indices.len() as u16,
                height: 1,
                buffer: indices.to_vec().into(),
                delay: *delay,
                dispose: *dispose,
                transparent: Some(3),
                ..Default::default()
            };
            encoder.write_frame(&frame).unwrap();
        }
        drop(encoder);
        bytes
    }

    /// Returns the pixels of each frame as letters, where `.` is white, with the frame's duration in milliseconds.
    fn shown(bytes: &[u8]) -> Result<Vec<(String, u64)>, String> {
        let mut frames = Frames::new(bytes)?;
        let mut all = Vec::new();
        while let Some(delay) = frames.next()? {
            let letter = |pixel: &[u8]| match pixel {
                [255, 0, 0, _] => 'r',
                [0, 255, 0, _] => 'g',
                [0, 0, 255, _] => 'b',
                [255, 255, 255, _] => '.',
                other => panic!("{other:?}"),
            };
            all.push((frames.canvas.chunks(4).map(letter).collect(), delay.mseconds()));
        }
        Ok(all)
    }

    #[test]
    fn frames_are_composed_by_their_disposal_methods() {
        use gif::DisposalMethod::{Background, Keep, Previous};
        let bytes = gif(&[
            (0, &[0, 0, 3, 3], 10, Keep),
            (1, &[1, 1], 0, Previous),
            (3, &[2], 50, Background),
            (0, &[1, 3], 2, Keep),
        ]);
        let wanted = [("rr..", 100), ("rgg.", 100), ("rr.b", 500), ("gr..", 20)];
        let wanted: Vec<_> = wanted.map(|(pixels, ms)| (pixels.to_owned(), ms)).into();
        assert_eq!(shown(&bytes), Ok(wanted));
    }

    #[test]
    fn damaged_and_oversized_images_are_errors() {
        let frame: (u16, &[u8], u16, gif::DisposalMethod) = (0, &[0, 1, 2, 0], 10, gif::DisposalMethod::Keep);
        let whole = gif(&[frame; 3]);
        assert!(shown(&whole[..40]).is_err());
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            // Decoding damaged data may succeed or fail, but it has to end.
            let _ = Frames::new(&damaged).map(|mut frames| while let Ok(Some(_)) = frames.next() {});
        }
        let mut large = whole;
        large[6..10].fill(0xff);
        assert!(shown(&large).unwrap_err().contains("65535x65535"));
    }
}
