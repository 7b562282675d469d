//! Preprocessing of decoded frames on the CPU or a GPU: crop, resize and conversion to RGB.

use std::sync::Arc;

use gstreamer as gst;
use gstreamer_video as video;
use lookout_schema::Size;
use lookout_stage::{GpuScaler, InputSize, Pixels, ResizeMode, ResizeTransform, ScalePlan};

use crate::{
    converter::Converter,
    crop::{Crop, displayed_size},
    cuda_memory::{self, MappedFrame},
    orientation::Orientation,
    plane_scaler::PlaneScaler,
    preprocess_error::PreprocessError,
};

/// The preprocessor: brings decoded frames to the network's input size and converts them to RGB.
///
/// It sets itself up again whenever the format of the frames changes.
#[derive(Debug)]
pub(crate) struct Preprocessor {
    input: Size,
    fit: ResizeMode,
    set_up: Option<SetUp>,
    /// The input size that changes at run time, if any. It replaces `input`.
    follows: Option<InputSize>,
    /// Scales frames that are in the memory of its GPU.
    gpu: Option<Arc<dyn GpuScaler>>,
}

/// A frame in the form of the network's input.
#[derive(Debug)]
pub(crate) struct Preprocessed {
    pub(crate) pixels: Pixels,
    /// The displayed size of the frame.
    pub(crate) source: Size,
    pub(crate) placement: ResizeTransform,
}

/// The state for frames of one format.
#[derive(Debug)]
struct SetUp {
    caps: gst::Caps,
    orientation: Orientation,
    from: video::VideoInfo,
    source: Size,
    placement: ResizeTransform,
    /// Present for formats that `planes` does not accept.
    converter: Option<Converter>,
    planes: PlaneScaler,
    /// Present for frames in GPU memory that can be scaled there.
    plan: Option<ScalePlan>,
}

impl Preprocessor {
    pub(crate) fn new(input: Size, fit: ResizeMode) -> Self {
        Self { input, fit, set_up: None, follows: None, gpu: None }
    }

    /// Makes the output size follow `input`, which is read for every frame.
    pub(crate) fn follow(&mut self, input: InputSize) {
        self.follows = Some(input);
    }

    /// Sets the scaler for frames in GPU memory.
    pub(crate) fn scale_with(&mut self, gpu: Option<Arc<dyn GpuScaler>>) {
        self.gpu = gpu;
    }

    /// Returns what scales frames in GPU memory, if anything.
    pub(crate) fn gpu(&self) -> Option<&dyn GpuScaler> {
        self.gpu.as_deref()
    }

    /// Returns the size of the output.
    pub(crate) fn input(&self) -> Size {
        self.input
    }

    /// Brings the frame in `sample` to the network's input. `orientation` is how the frame is rotated for display.
    ///
    /// # Errors
    /// The sample has no frame, its format cannot be converted, or its data is smaller than the format requires.
    pub(crate) fn fit(
        &mut self,
        sample: &gst::Sample,
        orientation: Orientation,
    ) -> Result<Preprocessed, PreprocessError> {
        let (Some(caps), Some(buffer)) = (sample.caps(), sample.buffer()) else {
            return Err(PreprocessError::NoData);
        };
        if let Some(wanted) = self.follows.as_ref().map(InputSize::get).filter(|wanted| *wanted != self.input)
        {
            self.input = wanted;
            self.set_up = None;
        }
        let current = match self.set_up.take() {
            Some(set_up) if set_up.orientation == orientation && *set_up.caps == *caps => set_up,
            _ => SetUp::new(caps, orientation, self.input, self.fit)?,
        };
        let set_up = self.set_up.insert(current);
        let (source, placement) = (set_up.source, set_up.placement);
        match on_gpu(self.gpu.as_deref(), set_up, buffer) {
            Some(Ok(pixels)) => return Ok(Preprocessed { pixels, source, placement }),
            Some(Err(reason)) => {
                tracing::warn!(
                    reason,
                    "the GPU could not scale a frame; the CPU scales the camera's frames from now on"
                );
                self.gpu = None;
            }
            None => {}
        }
        // Mapping copies frames in GPU memory to host memory.
        let frame = video::VideoFrameRef::from_buffer_ref_readable(buffer, &set_up.from)
            .map_err(|_| PreprocessError::Unreadable)?;
        let rgb = match &mut set_up.converter {
            None => set_up.planes.draw(&frame)?,
            Some(converter) => set_up.planes.draw(&converter.convert(&frame)?)?,
        };
        let pixels = Pixels::new(self.input, rgb).ok_or(PreprocessError::Unreadable)?;
        Ok(Preprocessed { pixels, source, placement })
    }
}

/// Scales the frame in `buffer` on `gpu`.
///
/// Returns None if the frame is not in GPU memory, has to be rotated, or has a format that the GPU does not scale.
/// Returns an error with the scaler's reason if scaling fails.
fn on_gpu(
    gpu: Option<&dyn GpuScaler>,
    set_up: &SetUp,
    buffer: &gst::BufferRef,
) -> Option<Result<Pixels, String>> {
    let (gpu, plan) = (gpu?, set_up.plan?);
    let mapped = MappedFrame::new(buffer, &set_up.from)?;
    Some(gpu.scale(mapped.frame(), &plan))
}

impl SetUp {
    fn new(
        caps: &gst::CapsRef,
        orientation: Orientation,
        input: Size,
        fit: ResizeMode,
    ) -> Result<Self, PreprocessError> {
        let wrong_format = || PreprocessError::Format(short(caps));
        let from = video::VideoInfo::from_caps(caps).map_err(|_| wrong_format())?;
        if from.width() == 0 || from.height() == 0 {
            return Err(PreprocessError::NoData);
        }
        let source = displayed_size(&from, orientation);
        let placement = fit.place(source, input);
        let crop = Crop::new(source, input, placement, orientation);
        // Read from the caps, because VideoInfo replaces a missing colorimetry by its own default.
        let stated = caps.structure(0).and_then(|caps| caps.get::<&str>("colorimetry").ok()?.parse().ok());
        let (converter, planes) = match PlaneScaler::new(&from, stated.as_ref(), input, crop) {
            Some(planes) => (None, planes),
            None => {
                let converter = Converter::new(&from).ok_or_else(wrong_format)?;
                let planes = PlaneScaler::new(converter.info(), stated.as_ref(), input, crop);
                (Some(converter), planes.ok_or_else(wrong_format)?)
            }
        };
        let plan = (cuda_memory::is_in_gpu(caps) && orientation == Orientation::default())
            .then(|| ScalePlan { seen: crop.seen(), input, to: crop.to, matrix: planes.matrix().factors() });
        Ok(Self { caps: caps.to_owned(), orientation, from, source, placement, converter, planes, plan })
    }
}

fn short(caps: &gst::CapsRef) -> String {
    caps.to_string().chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a pixel of an image that is smooth except at the edges of a bright rectangle.
    fn pixel(x: u32, y: u32, channel: u32) -> u8 {
        let smooth = 90.0 + 40.0 * (x as f32 / 37.0 + channel as f32).sin() + 40.0 * (y as f32 / 29.0).cos();
        if (300..420).contains(&x) && (200..350).contains(&y) { 230 } else { smooth as u8 }
    }

    fn sample(width: u32, height: u32) -> gst::Sample {
        crate::init().unwrap();
        let info = video::VideoInfo::builder(video::VideoFormat::Rgb, width, height).build().unwrap();
        let mut bytes = vec![0; info.size()];
        for (y, row) in (0..).zip(bytes.chunks_exact_mut(info.stride()[0] as usize)) {
            for (x, rgb) in (0..width).zip(row.chunks_exact_mut(3)) {
                (0..).zip(rgb).for_each(|(channel, byte)| *byte = pixel(x, y, channel));
            }
        }
        let buffer = gst::Buffer::from_mut_slice(bytes);
        gst::Sample::builder().buffer(&buffer).caps(&info.to_caps().unwrap()).build()
    }

    /// Returns the weights of the source pixels for each of `to` output pixels: Pillow's triangle filter, which spans
    /// two output pixels.
    fn weights(from: u32, to: u32) -> Vec<Vec<(u32, f32)>> {
        let scale = from as f32 / to as f32;
        let reach = scale.max(1.0);
        (0..to)
            .map(|i| {
                let center = (i as f32 + 0.5) * scale;
                let weight = |x: u32| (1.0 - ((x as f32 + 0.5 - center) / reach).abs()).max(0.0);
                let all: Vec<_> = (0..from).map(|x| (x, weight(x))).filter(|(_, w)| *w > 0.0).collect();
                let sum: f32 = all.iter().map(|(_, w)| w).sum();
                all.into_iter().map(|(x, w)| (x, w / sum)).collect()
            })
            .collect()
    }

    #[test]
    fn frames_follow_a_change_of_the_input_size() {
        let (large, small) = (Size { width: 64, height: 32 }, Size { width: 32, height: 32 });
        let mut preprocessor = Preprocessor::new(large, ResizeMode::Letterbox);
        let input = InputSize::new(large);
        preprocessor.follow(input.clone());
        assert_eq!(preprocessor.fit(&sample(80, 40), Orientation::default()).unwrap().pixels.size(), large);
        input.set(small);
        let fitted = preprocessor.fit(&sample(80, 40), Orientation::default()).unwrap();
        assert_eq!(fitted.pixels.size(), small);
        assert_eq!(fitted.placement, ResizeMode::Letterbox.place(Size { width: 80, height: 40 }, small));
    }

    #[test]
    fn a_center_crop_matches_torchvision() {
        let (source, input) = (Size { width: 768, height: 576 }, Size { width: 224, height: 224 });
        let fitted = Preprocessor::new(input, ResizeMode::CenterCrop { short_side: 256 })
            .fit(&sample(768, 576), Orientation::default())
            .unwrap();
        let resized = ResizeMode::short_side(source, 256);
        let (columns, rows) = (weights(768, resized.width), weights(576, resized.height));
        let (mut total, mut worst) = (0.0, 0.0f32);
        for (i, got) in fitted.pixels.rgb().iter().enumerate() {
            let (pixel_no, channel) = (i as u32 / 3, i as u32 % 3);
            // The corner of torchvision's crop: round((341 - 224) / 2), (256 - 224) / 2.
            let (x, y) = (pixel_no % 224 + 58, pixel_no / 224 + 16);
            let mut wanted = 0.0;
            for (sy, wy) in &rows[y as usize] {
                for (sx, wx) in &columns[x as usize] {
                    wanted += wx * wy * f32::from(pixel(*sx, *sy, channel));
                }
            }
            let off = (wanted - f32::from(*got)).abs();
            total += off;
            worst = worst.max(off);
        }
        let mean = total / fitted.pixels.rgb().len() as f32;
        assert!(mean < 1.0 && worst < 12.0, "off by {mean} in the mean, {worst} at worst");
    }

    #[test]
    fn a_letterboxed_rectangle_is_where_the_placement_states() {
        let input = Size { width: 640, height: 384 };
        let fitted = Preprocessor::new(input, ResizeMode::Letterbox)
            .fit(&sample(768, 576), Orientation::default())
            .unwrap();
        let row = |y: u32| &fitted.pixels.rgb()[y as usize * 640 * 3..][..640 * 3];
        let placement = fitted.placement;
        // The red channel of a row through the middle of the rectangle, which is brighter than its surroundings.
        let middle = (275.0 * placement.scale_y + placement.offset_y) as u32;
        let bright: Vec<_> = (0..640).filter(|x| row(middle)[x * 3] > 200).collect();
        let (left, right) = (bright[0] as f32, bright[bright.len() - 1] as f32 + 1.0);
        assert!((left - (300.0 * placement.scale_x + placement.offset_x)).abs() < 1.0, "{left}");
        assert!((right - (420.0 * placement.scale_x + placement.offset_x)).abs() < 1.0, "{right}");
    }

    #[test]
    fn an_input_larger_than_the_crop_has_a_black_border() {
        let input = Size { width: 60, height: 40 };
        let fitted = Preprocessor::new(input, ResizeMode::CenterCrop { short_side: 20 })
            .fit(&sample(40, 20), Orientation::default())
            .unwrap();
        assert_eq!((fitted.placement.offset_x, fitted.placement.offset_y), (10.0, 10.0));
        for (i, rgb) in fitted.pixels.rgb().chunks_exact(3).enumerate() {
            let inside = (10..50).contains(&(i % 60)) && (10..30).contains(&(i / 60));
            assert_eq!(rgb != [0, 0, 0], inside, "{i}");
        }
    }

    #[test]
    fn samples_without_a_valid_frame_are_errors() {
        crate::init().unwrap();
        let mut preprocessor = Preprocessor::new(Size { width: 8, height: 8 }, ResizeMode::Stretch);
        assert_eq!(
            preprocessor.fit(&gst::Sample::builder().build(), Orientation::default()).unwrap_err(),
            PreprocessError::NoData
        );
        let info = video::VideoInfo::builder(video::VideoFormat::Rgb, 32, 32).build().unwrap();
        let short = gst::Buffer::from_slice([0; 100]);
        let sample = gst::Sample::builder().buffer(&short).caps(&info.to_caps().unwrap()).build();
        assert_eq!(
            preprocessor.fit(&sample, Orientation::default()).unwrap_err(),
            PreprocessError::Unreadable
        );
        let sound = gst::Caps::new_empty_simple("audio/x-raw");
        let sample = gst::Sample::builder().buffer(&short).caps(&sound).build();
        assert!(matches!(preprocessor.fit(&sample, Orientation::default()), Err(PreprocessError::Format(_))));
    }
}
