//! Planar YUV, which is what decoders give, to the model's input: each plane is scaled by itself and only then
//! converted to RGB, so that the conversion costs by the input's size and not by the camera's.
//!
//! GStreamer's converter does the same in five times the time: it scales what the crop then throws away, in
//! 16 bits, with its colours unpacked. The resampling is fast_image_resize's, Pillow's bilinear; its library
//! for colours, `yuv`, was passed over for the twenty lines here, since it converts every format that there is
//! and compiles for longer than the rest of this crate.

use std::sync::Arc;

use fast_image_resize::{
    FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer,
    images::{TypedCroppedImage, TypedImage, TypedImageRef},
    pixels::{InnerPixel, U8, U8x2},
};
use gstreamer as gst;
use gstreamer_video::{self as video, VideoFrameExt as _};
use lookout_schema::Size;
use lookout_stage::{Placement, Rect};

use crate::{
    fitter::FitError,
    yuv::{Matrix, Yuv},
};

/// Scales and converts pictures of one planar format.
#[derive(Debug)]
pub(crate) struct Planes {
    input: Size,
    cut: Cut,
    matrix: Matrix,
    resizer: Resizer,
    scaled: Scaled,
}

/// Where the planes are scaled to: the size of the part of the input that has a picture.
#[derive(Debug)]
struct Scaled {
    y: TypedImage<'static, U8>,
    chroma: Chroma,
}

#[derive(Debug)]
enum Chroma {
    /// I420, YV12 with its last two planes exchanged, Y42B and Y444.
    Planar { u: TypedImage<'static, U8>, v: TypedImage<'static, U8>, u_plane: u32, v_plane: u32 },
    /// NV12: both in one plane, by turns.
    Together(TypedImage<'static, U8x2>),
}

/// The part of the source that is seen, and where it lies in the input.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cut {
    source: Size,
    /// Pixels of the source.
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    /// Pixels of the input.
    to: Rect,
}

impl Cut {
    fn new(source: Size, input: Size, placement: Placement) -> Self {
        // The offsets are whole pixels, and so is where the source ends.
        let end = |offset: f32, scale: f32, side: u32| (offset + scale * side as f32).round();
        let span = |offset: f32, scale: f32, source: u32, input: u32| {
            let from = offset.max(0.0);
            let to = end(offset, scale, source).min(input as f32).max(from + 1.0);
            let start = f64::from(from - offset) / f64::from(scale);
            let length = (f64::from(to - from) / f64::from(scale)).min(f64::from(source) - start);
            (from as u32, (to - from) as u32, start, length)
        };
        let Placement { scale_x, scale_y, offset_x, offset_y } = placement;
        let (x, to_width, left, width) = span(offset_x, scale_x, source.width, input.width);
        let (y, to_height, top, height) = span(offset_y, scale_y, source.height, input.height);
        Self { source, left, top, width, height, to: Rect { x, y, width: to_width, height: to_height } }
    }

    /// The same part of a plane of `size`, which covers the same picture.
    fn options(&self, size: Size) -> ResizeOptions {
        let x = f64::from(size.width) / f64::from(self.source.width);
        let y = f64::from(size.height) / f64::from(self.source.height);
        ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).crop(
            self.left * x,
            self.top * y,
            self.width * x,
            self.height * y,
        )
    }
}

impl Planes {
    /// None for formats that are scaled in another way.
    pub(crate) fn new(from: &video::VideoInfo, input: Size, placement: Placement) -> Option<Self> {
        use video::VideoFormat as Format;
        let source = Size { width: from.width(), height: from.height() };
        let cut = Cut::new(source, input, placement);
        let (width, height) = (cut.to.width, cut.to.height);
        let plane = || TypedImage::<U8>::new(width, height);
        let planar = |u_plane, v_plane| Chroma::Planar { u: plane(), v: plane(), u_plane, v_plane };
        let chroma = match from.format() {
            // The two fields of an interlaced picture are of two moments, which the converter knows.
            _ if from.is_interlaced() => return None,
            Format::I420 | Format::Y42b | Format::Y444 => planar(1, 2),
            Format::Yv12 => planar(2, 1),
            Format::Nv12 => Chroma::Together(TypedImage::<U8x2>::new(width, height)),
            _ => return None,
        };
        let scaled = Scaled { y: plane(), chroma };
        Some(Self { input, cut, matrix: Matrix::new(&from.colorimetry())?, resizer: Resizer::new(), scaled })
    }

    /// The pixels of the model's input.
    pub(crate) fn draw(
        &mut self,
        from: &video::VideoFrameRef<&gst::BufferRef>,
    ) -> Result<Arc<[u8]>, FitError> {
        let Self { input, cut, matrix, resizer, scaled } = self;
        scale(resizer, *cut, from, 0, &mut scaled.y)?;
        match &mut scaled.chroma {
            Chroma::Planar { u, v, u_plane, v_plane } => {
                scale(resizer, *cut, from, *u_plane, u)?;
                scale(resizer, *cut, from, *v_plane, v)?;
            }
            Chroma::Together(uv) => scale(resizer, *cut, from, 1, uv)?,
        }
        let mut rgb: Arc<[u8]> =
            std::iter::repeat_n(0, input.width as usize * input.height as usize * 3).collect();
        let Rect { x, y, width, height } = cut.to;
        let row_bytes = input.width as usize * 3;
        let within = x as usize * 3..(x + width) as usize * 3;
        let rows = Arc::get_mut(&mut rgb).into_iter().flat_map(|rgb| rgb.chunks_exact_mut(row_bytes));
        for (i, row) in rows.skip(y as usize).take(height as usize).enumerate() {
            matrix
                .convert(&scaled.row(i * width as usize..(i + 1) * width as usize), &mut row[within.clone()]);
        }
        Ok(rgb)
    }
}

impl Scaled {
    fn row(&self, range: std::ops::Range<usize>) -> Yuv<'_> {
        let y = &self.y.pixels()[range.clone()];
        match &self.chroma {
            Chroma::Planar { u, v, .. } => {
                Yuv::Apart { y, u: &u.pixels()[range.clone()], v: &v.pixels()[range] }
            }
            Chroma::Together(uv) => Yuv::Together { y, uv: &uv.pixels()[range] },
        }
    }
}

/// Scales the cut of one plane to `to`.
fn scale<P: PixelTrait + InnerPixel>(
    resizer: &mut Resizer,
    cut: Cut,
    from: &video::VideoFrameRef<&gst::BufferRef>,
    plane: u32,
    to: &mut TypedImage<'static, P>,
) -> Result<(), FitError> {
    let unreadable = || FitError::Unreadable;
    let stride = *from.plane_stride().get(plane as usize).ok_or_else(unreadable)? as usize;
    // Of the planes here each begins with the component of its own number.
    let size = Size { width: from.comp_width(plane), height: from.comp_height(plane) };
    let data = from.plane_data(plane).map_err(|_| FitError::Unreadable)?;
    let pixel = size_of::<P>();
    let (columns, rows) = (stride / pixel, size.height as usize);
    let data = data.get(..columns * pixel * rows).ok_or_else(unreadable)?;
    // A row may be longer than the picture is wide.
    let padded =
        TypedImageRef::<P>::from_buffer(columns as u32, size.height, data).map_err(|_| unreadable())?;
    let picture =
        TypedCroppedImage::from_ref(&padded, 0, 0, size.width, size.height).map_err(|_| unreadable())?;
    resizer.resize_typed(&picture, to, &cut.options(size)).map_err(|_| unreadable())
}

#[cfg(test)]
mod tests {
    use lookout_stage::Fit;

    use super::*;
    use crate::converter::Converter;

    /// A frame that is smooth in every plane, with bytes between its rows that belong to no picture.
    fn frame(format: video::VideoFormat, size: Size, colorimetry: &str) -> (video::VideoInfo, gst::Buffer) {
        crate::init().unwrap();
        let colorimetry: video::VideoColorimetry = colorimetry.parse().unwrap();
        let info = video::VideoInfo::builder(format, size.width, size.height).colorimetry(&colorimetry);
        let info = info.build().unwrap();
        let mut buffer = gst::Buffer::from_mut_slice(vec![255u8; info.size()]);
        let mut frame =
            video::VideoFrameRef::from_buffer_ref_writable(buffer.get_mut().unwrap(), &info).unwrap();
        for plane in 0..frame.n_planes() {
            let stride = frame.plane_stride()[plane as usize] as usize;
            let pixel = if frame.n_planes() == 2 && plane == 1 { 2 } else { 1 };
            let (width, height) = (frame.comp_width(plane) as usize, frame.comp_height(plane) as usize);
            let rows = frame.plane_data_mut(plane).unwrap().chunks_mut(stride);
            for (y, row) in rows.take(height).enumerate() {
                for (x, byte) in row[..width * pixel].iter_mut().enumerate() {
                    let (x, y) = ((x / pixel) as f32 / width as f32, y as f32 / height as f32);
                    let wave = (x * 9.0 + plane as f32).sin() + (y * 7.0 - plane as f32).cos();
                    *byte = (128.0 + 45.0 * wave) as u8;
                }
            }
        }
        drop(frame);
        (info, buffer)
    }

    fn assert_like_the_converter(info: &video::VideoInfo, buffer: &gst::Buffer, fit: Fit, input: Size) {
        let source = Size { width: info.width(), height: info.height() };
        let frame = video::VideoFrameRef::from_buffer_ref_readable(buffer, info).unwrap();
        let ours = Planes::new(info, input, fit.place(source, input)).unwrap().draw(&frame).unwrap();
        let theirs = Converter::new(info, input, fit).unwrap().draw(&frame).unwrap();
        let far = || ours.iter().zip(theirs.iter()).map(|(a, b)| u64::from(a.abs_diff(*b)));
        let (mean, worst) = (far().sum::<u64>() as f64 / ours.len() as f64, far().max().unwrap());
        // The converter's own arithmetic is some four levels too dark in green.
        assert!(mean < 3.0 && worst <= 12, "{:?} {fit:?} {input:?}: {mean} and {worst}", info.format());
    }

    #[test]
    fn pictures_are_those_of_gstreamers_converter() {
        use video::VideoFormat as Format;
        let fits = [Fit::Letterbox, Fit::Stretch, Fit::CentreCrop { short_side: 100 }];
        let sizes = [Size { width: 320, height: 240 }, Size { width: 322, height: 182 }];
        for format in [Format::I420, Format::Yv12, Format::Nv12, Format::Y42b, Format::Y444] {
            for (fit, size) in fits.into_iter().flat_map(|fit| sizes.map(|size| (fit, size))) {
                let (info, buffer) = frame(format, size, "bt601");
                assert_like_the_converter(&info, &buffer, fit, Size { width: 96, height: 80 });
            }
        }
        // Made larger, and with black around it.
        let (info, buffer) = frame(Format::I420, Size { width: 64, height: 48 }, "bt601");
        for fit in [Fit::Letterbox, Fit::CentreCrop { short_side: 60 }] {
            assert_like_the_converter(&info, &buffer, fit, Size { width: 200, height: 100 });
        }
        for colorimetry in ["bt709", "1:4:0:0", "bt2020"] {
            let (info, buffer) = frame(Format::I420, sizes[0], colorimetry);
            assert_like_the_converter(&info, &buffer, Fit::Letterbox, Size { width: 96, height: 80 });
        }
    }

    #[test]
    fn what_is_seen_of_the_source_fills_the_input() {
        let (source, input) = (Size { width: 768, height: 576 }, Size { width: 224, height: 224 });
        let cut = Cut::new(source, input, Fit::CentreCrop { short_side: 256 }.place(source, input));
        assert_eq!(cut.to, Rect { x: 0, y: 0, width: 224, height: 224 });
        // 224 of 256 rows, and the corner of torchvision's crop, 58 and 16 pixels into 341x256.
        assert!((cut.height - 504.0).abs() < 0.01 && (cut.top - 36.0).abs() < 0.01, "{cut:?}");
        assert!((cut.left - 58.0 * 768.0 / 341.0).abs() < 0.01, "{cut:?}");
        let letterbox = Cut::new(
            source,
            Size { width: 640, height: 384 },
            Fit::Letterbox.place(source, Size { width: 640, height: 384 }),
        );
        assert!(letterbox.left == 0.0 && (letterbox.width - 768.0).abs() < 0.01, "{letterbox:?}");
        assert_eq!(letterbox.to, Rect { x: 64, y: 0, width: 512, height: 384 });
    }
}
