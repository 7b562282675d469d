//! A decoded picture, brought to the model's input.

use std::sync::Arc;

use gstreamer as gst;
use gstreamer_video as video;
use lookout_schema::Size;
use lookout_stage::{Fit, Pixels, Placement, Rect};
use thiserror::Error;

/// Scales and converts decoded pictures with GStreamer's converter; set up anew whenever they change.
#[derive(Debug)]
pub(crate) struct Fitter {
    input: Size,
    fit: Fit,
    set_up: Option<SetUp>,
}

/// A picture in the model's input.
#[derive(Debug)]
pub(crate) struct Fitted {
    pub(crate) pixels: Pixels,
    /// The picture as it was decoded.
    pub(crate) source: Size,
    pub(crate) placement: Placement,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum FitError {
    #[error("the decoder gave a frame without a format or without data")]
    NoPicture,
    #[error("pictures of format {0} cannot be converted to RGB")]
    Format(String),
    #[error("a frame could not be read: it is smaller than its format says")]
    Unreadable,
}

/// What is kept for pictures of one format.
#[derive(Debug)]
struct SetUp {
    caps: gst::Caps,
    from: video::VideoInfo,
    to: video::VideoInfo,
    converter: video::VideoConverter,
    /// Where the converter writes: the model's input, or a picture out of which it is cut.
    out: gst::Buffer,
    /// The size of `out`.
    drawn: Size,
    source: Size,
    placement: Placement,
}

impl Fitter {
    pub(crate) fn new(input: Size, fit: Fit) -> Self {
        Self { input, fit, set_up: None }
    }

    /// The picture in `sample`, fitted.
    pub(crate) fn fit(&mut self, sample: &gst::Sample) -> Result<Fitted, FitError> {
        let (Some(caps), Some(buffer)) = (sample.caps(), sample.buffer()) else {
            return Err(FitError::NoPicture);
        };
        let current = match self.set_up.take() {
            Some(set_up) if *set_up.caps == *caps => set_up,
            _ => SetUp::new(caps, self.input, self.fit)?,
        };
        let set_up = self.set_up.insert(current);
        set_up.draw(buffer)?;
        let map = set_up.out.map_readable().map_err(|_| FitError::Unreadable)?;
        let rgb = if set_up.drawn == self.input {
            Arc::from(map.as_slice())
        } else {
            cut_out(map.as_slice(), set_up.drawn, self.input, set_up.placement)
        };
        let pixels = Pixels::new(self.input, rgb).ok_or(FitError::Unreadable)?;
        Ok(Fitted { pixels, source: set_up.source, placement: set_up.placement })
    }
}

impl SetUp {
    fn new(caps: &gst::CapsRef, input: Size, fit: Fit) -> Result<Self, FitError> {
        let from = video::VideoInfo::from_caps(caps).map_err(|_| FitError::Format(short(caps)))?;
        let source = Size { width: from.width(), height: from.height() };
        if source.width == 0 || source.height == 0 {
            return Err(FitError::NoPicture);
        }
        let whole = Rect { x: 0, y: 0, width: input.width, height: input.height };
        let (drawn, within) = match fit {
            Fit::Stretch => (input, whole),
            Fit::Letterbox => (input, Fit::letterbox(source, input)),
            // Cut out of the resized picture and not out of the source, whose pixels are too coarse to say
            // where the crop begins.
            Fit::CentreCrop { short_side } => {
                let resized = Fit::short_side(source, short_side);
                (resized, Rect { x: 0, y: 0, width: resized.width, height: resized.height })
            }
        };
        let stride = drawn.width * 3;
        let wrong_format = |_| FitError::Format(short(caps));
        // The converter changes neither the rate nor how lines are interlaced, and refuses if asked to.
        let to = video::VideoInfo::builder(video::VideoFormat::Rgb, drawn.width, drawn.height)
            .stride(&[stride as i32])
            .offset(&[0])
            .size(stride as usize * drawn.height as usize)
            .fps(from.fps())
            .interlace_mode(from.interlace_mode())
            .build()
            .map_err(wrong_format)?;
        let converter = video::VideoConverter::new(&from, &to, Some(config(within))).map_err(wrong_format)?;
        Ok(Self {
            caps: caps.to_owned(),
            out: gst::Buffer::from_mut_slice(vec![0; to.size()]),
            from,
            to,
            converter,
            drawn,
            source,
            placement: fit.place(source, input),
        })
    }

    fn draw(&mut self, buffer: &gst::BufferRef) -> Result<(), FitError> {
        let from = video::VideoFrameRef::from_buffer_ref_readable(buffer, &self.from)
            .map_err(|_| FitError::Unreadable)?;
        let out = self.out.get_mut().ok_or(FitError::Unreadable)?;
        let mut to = video::VideoFrameRef::from_buffer_ref_writable(out, &self.to)
            .map_err(|_| FitError::Unreadable)?;
        self.converter.frame_ref(&from, &mut to);
        Ok(())
    }
}

/// Bilinear over as many source pixels as one of the output covers, as Pillow and so torchvision scale:
/// with only two taps small things would flicker in and out between frames.
fn config(within: Rect) -> video::VideoConverterConfig {
    let mut config = video::VideoConverterConfig::new();
    config.set_resampler_method(video::VideoResamplerMethod::Linear);
    config.set_dither_method(video::VideoDitherMethod::None);
    config.set_dest_x(within.x as i32);
    config.set_dest_y(within.y as i32);
    config.set_dest_width(Some(within.width as i32));
    config.set_dest_height(Some(within.height as i32));
    config.set_fill_border(true);
    config.set_border_argb(0xff00_0000);
    config
}

/// The part of a picture of `drawn` that lies in the input, where its corner lies at the placement's
/// offset; black where there is none.
fn cut_out(rgb: &[u8], drawn: Size, input: Size, placement: Placement) -> Arc<[u8]> {
    let mut out: Arc<[u8]> =
        std::iter::repeat_n(0, input.width as usize * input.height as usize * 3).collect();
    let (x, y) = (placement.offset_x as i64, placement.offset_y as i64);
    let (skip_x, skip_y) = ((-x).max(0) as usize, (-y).max(0) as usize);
    let (at_x, at_y) = (x.max(0) as usize, y.max(0) as usize);
    let width =
        (drawn.width as usize).saturating_sub(skip_x).min((input.width as usize).saturating_sub(at_x));
    if let Some(pixels) = Arc::get_mut(&mut out) {
        let rows = rgb.chunks_exact(drawn.width as usize * 3).skip(skip_y);
        for (to, from) in pixels.chunks_exact_mut(input.width as usize * 3).skip(at_y).zip(rows) {
            to[at_x * 3..(at_x + width) * 3].copy_from_slice(&from[skip_x * 3..(skip_x + width) * 3]);
        }
    }
    out
}

fn short(caps: &gst::CapsRef) -> String {
    caps.to_string().chars().take(120).collect()
}
