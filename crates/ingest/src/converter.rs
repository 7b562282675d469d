//! Pictures of any format to the model's input, by GStreamer's converter: the way that takes everything.

use std::sync::Arc;

use gstreamer as gst;
use gstreamer_video as video;
use lookout_schema::Size;
use lookout_stage::{Fit, Placement, Rect};

use crate::fitter::FitError;

/// GStreamer's converter for pictures of one format, and where it writes.
#[derive(Debug)]
pub(crate) struct Converter {
    input: Size,
    to: video::VideoInfo,
    converter: video::VideoConverter,
    /// The model's input, or a picture out of which it is cut.
    out: gst::Buffer,
    /// The size of `out`.
    drawn: Size,
    placement: Placement,
}

impl Converter {
    /// None where GStreamer cannot convert such pictures to RGB.
    pub(crate) fn new(from: &video::VideoInfo, input: Size, fit: Fit) -> Option<Self> {
        let source = Size { width: from.width(), height: from.height() };
        let whole = |size: Size| Rect { x: 0, y: 0, width: size.width, height: size.height };
        let (drawn, within) = match fit {
            Fit::Stretch => (input, whole(input)),
            Fit::Letterbox => (input, Fit::letterbox(source, input)),
            // Cut out of the resized picture and not out of the source, whose pixels are too coarse to say
            // where the crop begins.
            Fit::CentreCrop { short_side } => {
                let resized = Fit::short_side(source, short_side);
                (resized, whole(resized))
            }
        };
        let stride = drawn.width * 3;
        // The converter changes neither the rate nor how lines are interlaced, and refuses if asked to.
        let to = video::VideoInfo::builder(video::VideoFormat::Rgb, drawn.width, drawn.height)
            .stride(&[stride as i32])
            .offset(&[0])
            .size(stride as usize * drawn.height as usize)
            .fps(from.fps())
            .interlace_mode(from.interlace_mode())
            .build()
            .ok()?;
        Some(Self {
            input,
            converter: video::VideoConverter::new(from, &to, Some(config(within))).ok()?,
            out: gst::Buffer::from_mut_slice(vec![0; to.size()]),
            to,
            drawn,
            placement: fit.place(source, input),
        })
    }

    /// The pixels of the model's input.
    pub(crate) fn draw(
        &mut self,
        from: &video::VideoFrameRef<&gst::BufferRef>,
    ) -> Result<Arc<[u8]>, FitError> {
        let out = self.out.get_mut().ok_or(FitError::Unreadable)?;
        let mut to = video::VideoFrameRef::from_buffer_ref_writable(out, &self.to)
            .map_err(|_| FitError::Unreadable)?;
        self.converter.frame_ref(from, &mut to);
        drop(to);
        let map = self.out.map_readable().map_err(|_| FitError::Unreadable)?;
        Ok(if self.drawn == self.input {
            Arc::from(map.as_slice())
        } else {
            cut_out(map.as_slice(), self.drawn, self.input, self.placement)
        })
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
