//! Frames of formats that are seldom seen, to one of those that `Planes` scales, by GStreamer's converter.

use gstreamer as gst;
use gstreamer_video as video;

use crate::fitter::FitError;

/// GStreamer's converter for frames of one format, and where it writes.
///
/// It changes neither the size nor the colors, so what it writes is bounded by the size of the image.
#[derive(Debug)]
pub(crate) struct Converter {
    to: video::VideoInfo,
    converter: video::VideoConverter,
    out: gst::Buffer,
}

impl Converter {
    /// None where GStreamer cannot convert such frames.
    pub(crate) fn new(from: &video::VideoInfo) -> Option<Self> {
        use video::VideoFormat as Format;
        let format = from.format_info();
        // Components of half the width, as those of YUY2, keep it.
        let chroma = |sub: &[u32]| sub.get(1).copied().unwrap_or(0);
        let to = match () {
            () if format.is_gray() => Format::Gray8,
            () if format.is_rgb() => Format::Rgb,
            () if chroma(format.w_sub()) == 1 && chroma(format.h_sub()) == 0 => Format::Y42b,
            () if chroma(format.w_sub()) == 1 && chroma(format.h_sub()) == 1 => Format::I420,
            () => Format::Y444,
        };
        // The converter changes neither the rate nor how lines are interlaced, and refuses if asked to.
        let to = video::VideoInfo::builder(to, from.width(), from.height())
            .fps(from.fps())
            .interlace_mode(from.interlace_mode())
            .colorimetry(&from.colorimetry())
            .build()
            .ok()?;
        let mut config = video::VideoConverterConfig::new();
        config.set_dither_method(video::VideoDitherMethod::None);
        config.set_matrix_mode(video::VideoMatrixMode::None);
        Some(Self {
            converter: video::VideoConverter::new(from, &to, Some(config)).ok()?,
            out: gst::Buffer::from_mut_slice(vec![0; to.size()]),
            to,
        })
    }

    /// The format that it writes.
    pub(crate) fn info(&self) -> &video::VideoInfo {
        &self.to
    }

    /// The frame in the format of `info`.
    pub(crate) fn convert(
        &mut self,
        from: &video::VideoFrameRef<&gst::BufferRef>,
    ) -> Result<video::VideoFrameRef<&gst::BufferRef>, FitError> {
        let out = self.out.get_mut().ok_or(FitError::Unreadable)?;
        let mut to = video::VideoFrameRef::from_buffer_ref_writable(out, &self.to)
            .map_err(|_| FitError::Unreadable)?;
        self.converter.frame_ref(from, &mut to);
        drop(to);
        video::VideoFrameRef::from_buffer_ref_readable(&self.out, &self.to).map_err(|_| FitError::Unreadable)
    }
}
