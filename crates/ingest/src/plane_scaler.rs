//! Scales and converts decoded frames to the model's input.
//!
//! The visible part of a frame is scaled plane by plane and then converted to RGB, so the cost of the color
//! conversion depends on the size of the input and not on that of the frame.
//!
//! No buffer is larger than the frame or the input, whatever their shapes. An image of 16384x1 pixels whose short
//! side is scaled to 256 pixels is cropped first, because the scaled whole image would be 4 million pixels wide.
//! GStreamer's converter would scale the whole image, with unpacked colors of 16 bits.
//!
//! fast_image_resize does the resampling, with the same bilinear filter as Pillow. The crate `yuv` was not chosen
//! for the color conversion: it supports every format and takes longer to compile than the rest of this crate, whereas
//! `yuv.rs` does it in twenty lines. The two fields of an interlaced frame are scaled together, as ffmpeg does.

use std::{borrow::Cow, sync::Arc};

use fast_image_resize::{
    PixelTrait, Resizer,
    images::{TypedCroppedImage, TypedImage, TypedImageRef},
    pixels::{InnerPixel, U8, U8x2, U8x3, U8x4, U16, U16x2},
};
use gstreamer as gst;
use gstreamer_video::{self as video, VideoFrameExt as _};
use lookout_schema::{Rect, Size};

use crate::{
    crop::Crop,
    preprocess_error::PreprocessError,
    yuv::{Matrix, Yuv},
};

/// Scales and converts frames of one format.
#[derive(Debug)]
pub(crate) struct PlaneScaler {
    input: Size,
    crop: Crop,
    /// The size to which the crop is scaled: that of `crop.to` before the frame is turned for display.
    size: Size,
    matrix: Matrix,
    resizer: Resizer,
    scaled: Scaled,
    /// Scaled samples of more than 8 bits, before they are reduced to 8 bits.
    wide: Wide,
    /// The scaled RGB frame before it is turned. Empty if the frame is not turned.
    unturned: Vec<u8>,
}

/// Scaled planes, in the size of the part of the input that shows the frame.
#[derive(Debug)]
enum Scaled {
    /// Separate planes of Y, U and V. `from` lists their source planes. The chroma planes of gray images stay at
    /// 128.
    Yuv {
        planes: [TypedImage<'static, U8>; 3],
        from: Vec<u32>,
    },
    /// NV12: a plane of Y, and a plane with interleaved U and V.
    Together {
        y: TypedImage<'static, U8>,
        uv: TypedImage<'static, U8x2>,
    },
    /// Separate planes of red, green and blue. `from` lists their source planes.
    Rgb {
        planes: [TypedImage<'static, U8>; 3],
        from: [u32; 3],
    },
    /// Packed pixels of 3 bytes, and the offsets of red, green and blue in a pixel.
    Packed3(TypedImage<'static, U8x3>, [usize; 3]),
    Packed4(TypedImage<'static, U8x4>, [usize; 3]),
}

/// Scaled planes with samples of 16 bits. A right shift by `shift` reduces a sample to 8 bits.
#[derive(Debug)]
enum Wide {
    No,
    Single { image: TypedImage<'static, U16>, shift: u32 },
    Both { y: TypedImage<'static, U16>, uv: TypedImage<'static, U16x2>, shift: u32 },
}

impl PlaneScaler {
    /// Creates a scaler for frames of the format `from`. Returns None for formats that must be converted first.
    pub(crate) fn new(
        from: &video::VideoInfo,
        stated: Option<&video::VideoColorimetry>,
        input: Size,
        crop: Crop,
    ) -> Option<Self> {
        use video::VideoFormat as Format;
        let Size { width, height } =
            crop.orientation.turned(Size { width: crop.to.width, height: crop.to.height });
        let plane = || TypedImage::<U8>::new(width, height);
        let yuv = |from: &[u32]| {
            let mut planes = [plane(), plane(), plane()];
            planes.iter_mut().skip(from.len()).for_each(|plane| plane.pixels_mut().fill(U8::new(128)));
            Scaled::Yuv { planes, from: from.to_vec() }
        };
        let both = || Scaled::Together { y: plane(), uv: TypedImage::new(width, height) };
        let format = from.format_info();
        let offsets = || [0, 1, 2].map(|component| format.poffset()[component] as usize);
        let scaled = match from.format() {
            Format::I420 | Format::Y42b | Format::Y444 | Format::A420 => yuv(&[0, 1, 2]),
            Format::I42010le | Format::I42210le | Format::Y44410le => yuv(&[0, 1, 2]),
            Format::I42012le | Format::I42212le | Format::Y44412le => yuv(&[0, 1, 2]),
            Format::Yv12 => yuv(&[0, 2, 1]),
            Format::Gray8 | Format::Gray16Le => yuv(&[0]),
            Format::Nv12 | Format::P01010le => both(),
            Format::Gbr => {
                let from = [0, 1, 2].map(|component| format.plane()[component]);
                Scaled::Rgb { planes: [plane(), plane(), plane()], from }
            }
            Format::Rgb | Format::Bgr => Scaled::Packed3(TypedImage::new(width, height), offsets()),
            Format::Rgbx | Format::Bgrx | Format::Xrgb | Format::Xbgr => {
                Scaled::Packed4(TypedImage::new(width, height), offsets())
            }
            Format::Rgba | Format::Bgra | Format::Argb | Format::Abgr => {
                Scaled::Packed4(TypedImage::new(width, height), offsets())
            }
            _ => return None,
        };
        // The position of the lowest of a sample's 8 most significant bits.
        let shift = (format.shift()[0] + format.depth()[0]).saturating_sub(8);
        let wide = match &scaled {
            Scaled::Yuv { .. } if shift > 0 => Wide::Single { image: TypedImage::new(width, height), shift },
            Scaled::Together { .. } if shift > 0 => {
                Wide::Both { y: TypedImage::new(width, height), uv: TypedImage::new(width, height), shift }
            }
            _ => Wide::No,
        };
        let source = Size { width: from.width(), height: from.height() };
        let unturned = if crop.orientation == Default::default() {
            Vec::new()
        } else {
            vec![0; width as usize * height as usize * 3]
        };
        Some(Self {
            input,
            crop,
            size: Size { width, height },
            matrix: Matrix::new(stated, format.is_gray(), source),
            resizer: Resizer::new(),
            scaled,
            wide,
            unturned,
        })
    }

    /// Returns how the frames' YUV becomes RGB.
    pub(crate) fn matrix(&self) -> Matrix {
        self.matrix
    }

    /// Returns the pixels of the model's input: RGB, 3 bytes per pixel, without padding between rows.
    pub(crate) fn draw(
        &mut self,
        from: &video::VideoFrameRef<&gst::BufferRef>,
    ) -> Result<Arc<[u8]>, PreprocessError> {
        self.scale(from)?;
        let mut rgb: Arc<[u8]> =
            std::iter::repeat_n(0, self.input.width as usize * self.input.height as usize * 3).collect();
        let Rect { x, y, .. } = self.crop.to;
        let row_bytes = self.input.width as usize * 3;
        let Some(to) =
            Arc::get_mut(&mut rgb).and_then(|rgb| rgb.get_mut(y as usize * row_bytes + x as usize * 3..))
        else {
            return Err(PreprocessError::Unreadable);
        };
        if self.unturned.is_empty() {
            self.write_rgb(to, row_bytes);
        } else {
            let mut unturned = std::mem::take(&mut self.unturned);
            self.write_rgb(&mut unturned, self.size.width as usize * 3);
            self.crop.orientation.copy(&unturned, self.size, to, row_bytes);
            self.unturned = unturned;
        }
        Ok(rgb)
    }

    fn scale(&mut self, from: &video::VideoFrameRef<&gst::BufferRef>) -> Result<(), PreprocessError> {
        let Self { resizer, crop, .. } = self;
        match (&mut self.scaled, &mut self.wide) {
            (Scaled::Yuv { planes, from: order }, Wide::Single { image, shift }) => {
                for (to, plane) in planes.iter_mut().zip(order) {
                    scale(resizer, crop, from, *plane, image)?;
                    let narrow = |sample: &U16| U8::new((sample.0 >> *shift).min(255) as u8);
                    to.pixels_mut().iter_mut().zip(image.pixels()).for_each(|(to, from)| *to = narrow(from));
                }
            }
            (Scaled::Yuv { planes, from: order }, _) => {
                for (to, plane) in planes.iter_mut().zip(order) {
                    scale(resizer, crop, from, *plane, to)?;
                }
            }
            (Scaled::Together { y, uv }, Wide::Both { y: wide_y, uv: wide_uv, shift }) => {
                scale(resizer, crop, from, 0, wide_y)?;
                scale(resizer, crop, from, 1, wide_uv)?;
                let narrow = |sample: u16| (sample >> *shift).min(255) as u8;
                for (to, from) in y.pixels_mut().iter_mut().zip(wide_y.pixels()) {
                    *to = U8::new(narrow(from.0));
                }
                for (to, from) in uv.pixels_mut().iter_mut().zip(wide_uv.pixels()) {
                    *to = U8x2::new(from.0.map(narrow));
                }
            }
            (Scaled::Together { y, uv }, _) => {
                scale(resizer, crop, from, 0, y)?;
                scale(resizer, crop, from, 1, uv)?;
            }
            (Scaled::Rgb { planes, from: order }, _) => {
                for (to, plane) in planes.iter_mut().zip(order) {
                    scale(resizer, crop, from, *plane, to)?;
                }
            }
            (Scaled::Packed3(to, _), _) => scale(resizer, crop, from, 0, to)?,
            (Scaled::Packed4(to, _), _) => scale(resizer, crop, from, 0, to)?,
        }
        Ok(())
    }

    /// Writes the scaled planes as RGB to `to`, whose rows are `row_bytes` apart.
    fn write_rgb(&self, to: &mut [u8], row_bytes: usize) {
        let width = self.size.width as usize;
        for (i, row) in to.chunks_mut(row_bytes).take(self.size.height as usize).enumerate() {
            let (range, row) = (i * width..(i + 1) * width, &mut row[..width * 3]);
            match &self.scaled {
                Scaled::Yuv { planes: [y, u, v], .. } => {
                    let [y, u, v] = [y, u, v].map(|plane| &plane.pixels()[range.clone()]);
                    self.matrix.convert(&Yuv::Apart { y, u, v }, row);
                }
                Scaled::Together { y, uv } => {
                    let (y, uv) = (&y.pixels()[range.clone()], &uv.pixels()[range]);
                    self.matrix.convert(&Yuv::Together { y, uv }, row);
                }
                Scaled::Rgb { planes: [r, g, b], .. } => {
                    let [r, g, b] = [r, g, b].map(|plane| &plane.pixels()[range.clone()]);
                    for (((to, r), g), b) in row.chunks_exact_mut(3).zip(r).zip(g).zip(b) {
                        to.copy_from_slice(&[r.0, g.0, b.0]);
                    }
                }
                Scaled::Packed3(image, at) => pick(row, image.pixels()[range].iter().map(|p| &p.0), *at),
                Scaled::Packed4(image, at) => pick(row, image.pixels()[range].iter().map(|p| &p.0), *at),
            }
        }
    }
}

/// Copies three bytes of each pixel, at the offsets `at`, to a row of RGB.
fn pick<'a, const N: usize>(row: &mut [u8], pixels: impl Iterator<Item = &'a [u8; N]>, at: [usize; 3]) {
    for (to, pixel) in row.chunks_exact_mut(3).zip(pixels) {
        to.copy_from_slice(&at.map(|offset| pixel[offset]));
    }
}

/// Scales the crop of one plane to `to`.
fn scale<P: PixelTrait + InnerPixel>(
    resizer: &mut Resizer,
    crop: &Crop,
    from: &video::VideoFrameRef<&gst::BufferRef>,
    plane: u32,
    to: &mut TypedImage<'static, P>,
) -> Result<(), PreprocessError> {
    let unreadable = || PreprocessError::Unreadable;
    let stride = *from.plane_stride().get(plane as usize).ok_or_else(unreadable)? as usize;
    let component =
        from.format_info().plane().iter().position(|of| *of == plane).ok_or_else(unreadable)? as u32;
    let size = Size { width: from.comp_width(component), height: from.comp_height(component) };
    let data = from.plane_data(plane).map_err(|_| PreprocessError::Unreadable)?;
    let pixel = size_of::<P>();
    let (row_bytes, rows) = (size.width as usize * pixel, size.height as usize);
    // The padding at the end of a row may not be a whole number of pixels. The rows are then copied without padding.
    let (columns, data) = if stride.is_multiple_of(pixel) && stride >= row_bytes {
        (stride / pixel, Cow::Borrowed(data.get(..stride * rows).ok_or_else(unreadable)?))
    } else {
        let mut packed = Vec::with_capacity(row_bytes * rows);
        for row in 0..rows {
            packed.extend(data.get(row * stride..row * stride + row_bytes).ok_or_else(unreadable)?);
        }
        (size.width as usize, Cow::Owned(packed))
    };
    let padded =
        TypedImageRef::<P>::from_buffer(columns as u32, size.height, &data).map_err(|_| unreadable())?;
    let image =
        TypedCroppedImage::from_ref(&padded, 0, 0, size.width, size.height).map_err(|_| unreadable())?;
    resizer.resize_typed(&image, to, &crop.options(size)).map_err(|_| unreadable())
}

#[cfg(test)]
mod tests {
    use lookout_stage::ResizeMode;

    use super::*;
    use crate::{converter::Converter, crop::displayed_size, orientation::Orientation};

    /// Returns a frame with a smooth pattern in every plane, and with padding of other values between its rows.
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

    /// Converts `buffer` to another format of the same size.
    fn in_format(
        info: &video::VideoInfo,
        buffer: &gst::Buffer,
        format: video::VideoFormat,
    ) -> (video::VideoInfo, gst::Buffer) {
        let to = video::VideoInfo::builder(format, info.width(), info.height()).build().unwrap();
        let mut out = gst::Buffer::from_mut_slice(vec![0; to.size()]);
        let converter = video::VideoConverter::new(info, &to, None).unwrap();
        let from = video::VideoFrameRef::from_buffer_ref_readable(buffer, info).unwrap();
        let mut frame = video::VideoFrameRef::from_buffer_ref_writable(out.get_mut().unwrap(), &to).unwrap();
        converter.frame_ref(&from, &mut frame);
        drop(frame);
        (to, out)
    }

    fn drawn(
        info: &video::VideoInfo,
        buffer: &gst::Buffer,
        fit: ResizeMode,
        input: Size,
        turn: Orientation,
    ) -> Arc<[u8]> {
        let source = displayed_size(info, turn);
        let crop = Crop::new(source, input, fit.place(source, input), turn);
        let stated = Some(info.colorimetry()).filter(|_| info.is_yuv());
        let frame = video::VideoFrameRef::from_buffer_ref_readable(buffer, info).unwrap();
        match PlaneScaler::new(info, stated.as_ref(), input, crop) {
            Some(mut planes) => planes.draw(&frame).unwrap(),
            None => {
                let mut converter = Converter::new(info).unwrap();
                let mut planes = PlaneScaler::new(converter.info(), stated.as_ref(), input, crop).unwrap();
                planes.draw(&converter.convert(&frame).unwrap()).unwrap()
            }
        }
    }

    /// Resizes the whole frame with GStreamer's converter and then crops it.
    fn by_gstreamer(info: &video::VideoInfo, buffer: &gst::Buffer, fit: ResizeMode, input: Size) -> Vec<u8> {
        let source = Size { width: info.width(), height: info.height() };
        let whole = |size: Size| Rect { x: 0, y: 0, width: size.width, height: size.height };
        let (size, within) = match fit {
            ResizeMode::Stretch => (input, whole(input)),
            ResizeMode::Letterbox => (input, ResizeMode::letterbox(source, input)),
            ResizeMode::CenterCrop { short_side } => {
                let resized = ResizeMode::short_side(source, short_side);
                (resized, whole(resized))
            }
        };
        let stride = size.width * 3;
        let to = video::VideoInfo::builder(video::VideoFormat::Rgb, size.width, size.height)
            .stride(&[stride as i32])
            .offset(&[0])
            .size(stride as usize * size.height as usize)
            .build()
            .unwrap();
        let mut config = video::VideoConverterConfig::new();
        config.set_resampler_method(video::VideoResamplerMethod::Linear);
        config.set_dest_x(within.x as i32);
        config.set_dest_y(within.y as i32);
        config.set_dest_width(Some(within.width as i32));
        config.set_dest_height(Some(within.height as i32));
        config.set_border_argb(0xff00_0000);
        let converter = video::VideoConverter::new(info, &to, Some(config)).unwrap();
        let mut out = gst::Buffer::from_mut_slice(vec![0; to.size()]);
        let from = video::VideoFrameRef::from_buffer_ref_readable(buffer, info).unwrap();
        let mut frame = video::VideoFrameRef::from_buffer_ref_writable(out.get_mut().unwrap(), &to).unwrap();
        converter.frame_ref(&from, &mut frame);
        drop(frame);
        let map = out.map_readable().unwrap();
        let offset = fit.place(source, input);
        let at =
            |x: u32, offset: f32, side: u32| (x as i64 - offset as i64).try_into().ok().filter(|x| *x < side);
        let mut crop = Vec::new();
        for (y, x) in (0..input.height).flat_map(|y| (0..input.width).map(move |x| (y, x))) {
            let whole = !matches!(fit, ResizeMode::CenterCrop { .. });
            let (x, y) = if whole {
                (Some(x), Some(y))
            } else {
                (at(x, offset.offset_x, size.width), at(y, offset.offset_y, size.height))
            };
            match (x, y) {
                (Some(x), Some(y)) => crop.extend(&map[(y * stride + x * 3) as usize..][..3]),
                _ => crop.extend([0; 3]),
            }
        }
        crop
    }

    fn far(ours: &[u8], theirs: &[u8]) -> (f64, u8) {
        assert_eq!(ours.len(), theirs.len());
        let far = || ours.iter().zip(theirs.iter()).map(|(a, b)| a.abs_diff(*b));
        (far().map(u64::from).sum::<u64>() as f64 / ours.len() as f64, far().max().unwrap())
    }

    fn assert_like_the_converter(
        info: &video::VideoInfo,
        buffer: &gst::Buffer,
        fit: ResizeMode,
        input: Size,
    ) {
        let ours = drawn(info, buffer, fit, input, Orientation::default());
        let (mean, worst) = far(&ours, &by_gstreamer(info, buffer, fit, input));
        // The converter's arithmetic makes green about four levels too dark.
        assert!(mean < 3.0 && worst <= 12, "{:?} {fit:?} {input:?}: {mean} and {worst}", info.format());
    }

    #[test]
    fn frames_match_gstreamers_converter() {
        use video::VideoFormat as Format;
        let fits = [ResizeMode::Letterbox, ResizeMode::Stretch, ResizeMode::CenterCrop { short_side: 100 }];
        let sizes = [Size { width: 320, height: 240 }, Size { width: 322, height: 182 }];
        for format in [Format::I420, Format::Yv12, Format::Nv12, Format::Y42b, Format::Y444] {
            for (fit, size) in fits.into_iter().flat_map(|fit| sizes.map(|size| (fit, size))) {
                let (info, buffer) = frame(format, size, "bt601");
                assert_like_the_converter(&info, &buffer, fit, Size { width: 96, height: 80 });
            }
        }
        // Upscaled, and with black bars.
        let (info, buffer) = frame(Format::I420, Size { width: 64, height: 48 }, "bt601");
        for fit in [ResizeMode::Letterbox, ResizeMode::CenterCrop { short_side: 60 }] {
            assert_like_the_converter(&info, &buffer, fit, Size { width: 200, height: 100 });
        }
        for colorimetry in ["bt709", "1:4:0:0", "bt2020"] {
            let (info, buffer) = frame(Format::I420, sizes[0], colorimetry);
            assert_like_the_converter(&info, &buffer, ResizeMode::Letterbox, Size { width: 96, height: 80 });
        }
    }

    #[test]
    fn all_pixel_formats_give_the_same_frame() {
        use video::VideoFormat as Format;
        let (fit, input) = (ResizeMode::Letterbox, Size { width: 96, height: 80 });
        // The rows of an RGB frame with an odd width end with padding that is not a whole pixel.
        for size in [Size { width: 321, height: 241 }, Size { width: 64, height: 48 }] {
            let (info, buffer) = frame(Format::Y444, size, "bt601");
            let wanted = drawn(&info, &buffer, fit, input, Orientation::default());
            for format in [
                Format::Rgb,
                Format::Bgr,
                Format::Rgbx,
                Format::Xbgr,
                Format::Bgra,
                Format::Argb,
                Format::Gbr,
                Format::I42010le,
                Format::I42210le,
                Format::Y44412le,
                Format::P01010le,
                Format::Nv12,
                Format::Nv21,
                Format::Yuy2,
                Format::Uyvy,
                Format::Ayuv,
                Format::V210,
                Format::Gbr10le,
                Format::Argb64,
                Format::A420,
            ] {
                let (info, buffer) = in_format(&info, &buffer, format);
                let (mean, worst) = far(&drawn(&info, &buffer, fit, input, Orientation::default()), &wanted);
                assert!(mean < 3.0 && worst <= 12, "{format:?} {size:?}: {mean} and {worst}");
            }
        }
    }

    #[test]
    fn extreme_aspect_ratios_are_cropped_before_resizing() {
        use video::VideoFormat as Format;
        let fits = [
            ResizeMode::CenterCrop { short_side: 256 },
            ResizeMode::CenterCrop { short_side: 1024 },
            ResizeMode::Letterbox,
            ResizeMode::Stretch,
        ];
        let sizes =
            [(16_384, 1), (1, 16_384), (65_535, 1), (65_535, 16), (8192, 2), (2, 8192), (3, 1), (1, 1)];
        let turns = ["rotate-0", "rotate-90", "flip-rotate-180"];
        for (width, height) in sizes {
            for format in
                [Format::I420, Format::Gray8, Format::Gray16Le, Format::I42210le, Format::Yuy2, Format::Bgr]
            {
                crate::init().unwrap();
                let (yuv, buffer) = frame(Format::Y444, Size { width, height }, "bt601");
                let (info, buffer) = in_format(&yuv, &buffer, format);
                for (fit, turn) in fits.into_iter().flat_map(|fit| turns.map(|turn| (fit, turn))) {
                    for input in [Size { width: 224, height: 224 }, Size { width: 1024, height: 64 }] {
                        let rgb = drawn(&info, &buffer, fit, input, Orientation::from_tag(turn).unwrap());
                        // No part of the frame is black.
                        let source = displayed_size(&info, Orientation::from_tag(turn).unwrap());
                        let placement = fit.place(source, input);
                        let y = placement.offset_y + placement.scale_y * source.height as f32 / 2.0;
                        let x = placement.offset_x + placement.scale_x * source.width as f32 / 2.0;
                        let middle = (y as usize * input.width as usize + x as usize) * 3;
                        let shown: u32 = rgb[middle..][..3].iter().map(|byte| u32::from(*byte)).sum();
                        assert!(shown > 60, "{width}x{height} {format:?} {fit:?} {turn}: {shown}");
                    }
                }
            }
        }
    }

    /// Returns a frame with red, green, blue and white quarters: top left, top right, bottom left, bottom right.
    fn quarters(width: u32, height: u32, par: (i32, i32)) -> (video::VideoInfo, gst::Buffer) {
        crate::init().unwrap();
        let info = video::VideoInfo::builder(video::VideoFormat::Rgbx, width, height)
            .par(gst::Fraction::new(par.0, par.1))
            .build()
            .unwrap();
        let color = |x: u32, y: u32| match (x < width / 2, y < height / 2) {
            (true, true) => [255, 0, 0, 0],
            (false, true) => [0, 255, 0, 0],
            (true, false) => [0, 0, 255, 0],
            (false, false) => [255, 255, 255, 0],
        };
        let pixels = (0..height).flat_map(|y| (0..width).flat_map(move |x| color(x, y)));
        let bytes: Vec<u8> = pixels.collect();
        (info, gst::Buffer::from_mut_slice(bytes))
    }

    /// Returns the colors of the displayed frame's quarters as letters, and the size of the displayed frame.
    fn displayed(par: (i32, i32), turn: &str, fit: ResizeMode, input: Size) -> (String, Size) {
        let (info, buffer) = quarters(320, 180, par);
        let turn = Orientation::from_tag(turn).unwrap();
        let source = displayed_size(&info, turn);
        let placement = fit.place(source, input);
        let rgb = drawn(&info, &buffer, fit, input, turn);
        let at = |x: f32, y: f32| {
            let x = (x * source.width as f32 * placement.scale_x + placement.offset_x) as usize;
            let y = (y * source.height as f32 * placement.scale_y + placement.offset_y) as usize;
            match rgb[(y * input.width as usize + x) * 3..][..3] {
                [200..=255, 0..=50, 0..=50] => 'r',
                [0..=50, 200..=255, 0..=50] => 'g',
                [0..=50, 0..=50, 200..=255] => 'b',
                [200..=255, 200..=255, 200..=255] => 'w',
                _ => '?',
            }
        };
        ([at(0.4, 0.4), at(0.6, 0.4), at(0.4, 0.6), at(0.6, 0.6)].into_iter().collect(), source)
    }

    #[test]
    fn rotated_and_flipped_frames_are_converted_as_displayed() {
        let upright = Size { width: 180, height: 320 };
        for (turn, colors, size) in [
            ("rotate-90", "brwg", upright),
            ("rotate-180", "wbgr", Size { width: 320, height: 180 }),
            ("rotate-270", "gwrb", upright),
            ("flip-rotate-0", "grwb", Size { width: 320, height: 180 }),
            ("flip-rotate-90", "wgbr", upright),
            ("flip-rotate-270", "rbgw", upright),
        ] {
            for fit in [ResizeMode::Letterbox, ResizeMode::Stretch, ResizeMode::CenterCrop { short_side: 64 }]
            {
                for input in [Size { width: 100, height: 60 }, Size { width: 61, height: 97 }] {
                    assert_eq!(displayed((1, 1), turn, fit, input), (colors.into(), size), "{turn} {fit:?}");
                }
            }
        }
    }

    #[test]
    fn the_pixel_aspect_ratio_changes_the_displayed_size() {
        let input = Size { width: 100, height: 60 };
        for (par, turn, width, height) in [
            ((64, 45), "rotate-0", 455, 180),
            ((2, 1), "rotate-90", 180, 640),
            ((1, 2), "rotate-0", 160, 180),
            // Ignored: beyond the largest size of an image, or not positive.
            ((1000, 1), "rotate-0", 320, 180),
            ((1, 1000), "rotate-0", 320, 180),
            ((0, 1), "rotate-0", 320, 180),
        ] {
            let (_, size) = displayed(par, turn, ResizeMode::Letterbox, input);
            assert_eq!(size, Size { width, height }, "{par:?} {turn}");
        }
    }
}
