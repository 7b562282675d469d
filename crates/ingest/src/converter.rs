//! Converts frames of uncommon formats to a format that `PlaneScaler` scales, with GStreamer's converter.

use gstreamer as gst;
use gstreamer_video as video;

use crate::preprocess_error::PreprocessError;

/// GStreamer's converter for frames of one format, with its output buffer.
///
/// It changes neither the size nor the colors of a frame, so the size of the image bounds the output.
#[derive(Debug)]
pub(crate) struct Converter {
    to: video::VideoInfo,
    converter: video::VideoConverter,
    out: gst::Buffer,
}

impl Converter {
    /// Creates a converter for frames of format `from`, or returns None if GStreamer cannot convert them.
    pub(crate) fn new(from: &video::VideoInfo) -> Option<Self> {
        use video::VideoFormat as Format;
        let format = from.format_info();
        // Chroma subsampling is kept: YUY2 and other 4:2:2 formats become Y42B.
        let chroma = |sub: &[u32]| sub.get(1).copied().unwrap_or(0);
        let to = match () {
            () if format.is_gray() => Format::Gray8,
            () if format.is_rgb() => Format::Rgb,
            () if chroma(format.w_sub()) == 1 && chroma(format.h_sub()) == 0 => Format::Y42b,
            () if chroma(format.w_sub()) == 1 && chroma(format.h_sub()) == 1 => Format::I420,
            () => Format::Y444,
        };
        // The converter cannot change the frame rate or the interlace mode, and refuses a target format that does.
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

    /// Returns the output format.
    pub(crate) fn info(&self) -> &video::VideoInfo {
        &self.to
    }

    /// Converts the frame to the format of [`info`](Self::info).
    pub(crate) fn convert(
        &mut self,
        from: &video::VideoFrameRef<&gst::BufferRef>,
    ) -> Result<video::VideoFrameRef<&gst::BufferRef>, PreprocessError> {
        let out = self.out.get_mut().ok_or(PreprocessError::Unreadable)?;
        let mut to = video::VideoFrameRef::from_buffer_ref_writable(out, &self.to)
            .map_err(|_| PreprocessError::Unreadable)?;
        self.converter.frame_ref(from, &mut to);
        drop(to);
        video::VideoFrameRef::from_buffer_ref_readable(&self.out, &self.to)
            .map_err(|_| PreprocessError::Unreadable)
    }
}
