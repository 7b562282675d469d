//! Random scaling and cropping, and the resize to the network's input.

use lookout_model::ResizedImage;
use lookout_schema::{BBox, Rect, Size};
use lookout_stage::ResizeMode;
use rand::RngExt;

use super::{
    random::{Random, between},
    view::{Part, View, all_of, viewed},
};
use crate::sample::{Sample, SampleImage, Target};

/// Large scale jitter: Ghiasi et al., Simple Copy-Paste is a Strong Data Augmentation Method, 2021
/// (<https://arxiv.org/abs/2012.07177>).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScaleJitter {
    /// The size of the result.
    pub size: Size,
    /// Range of the random factor: the image is scaled to fit into `size` times a number between `min` and `max`.
    pub min: f64,
    pub max: f64,
}

impl ScaleJitter {
    /// Returns the large jitter of the paper, 0.1 to 2. The standard jitter is 0.8 to 1.25.
    pub const fn large(size: Size) -> Self {
        Self { size, min: 0.1, max: 2.0 }
    }

    /// Scales the image by a random factor and keeps its aspect ratio. An image larger than the result is cropped at
    /// random; a smaller one is padded below and to the right.
    pub fn apply(&self, sample: &Sample, random: &mut Random) -> Sample {
        let source = sample.image.size;
        let times = between(self.min, self.max, random);
        let axis = |to: u32, from: u32| f64::from(to) * times / f64::from(from);
        let scale = axis(self.size.width, source.width).min(axis(self.size.height, source.height));
        let mut cut = |from: u32, to: u32| {
            let scaled = (f64::from(from) * scale).round().max(1.0);
            let seen = scaled.min(f64::from(to));
            let offset = (between(0.0, 1.0, random) * (scaled - seen)).floor();
            let back = f64::from(from) / scaled;
            (offset * back, seen * back, seen as u32)
        };
        let (x, from_width, width) = cut(source.width, self.size.width);
        let (y, from_height, height) = cut(source.height, self.size.height);
        let from = Part { x, y, width: from_width, height: from_height };
        viewed(sample, View { from, to: Rect { x: 0, y: 0, width, height } }, self.size)
    }
}

/// SSD's crop with a minimum IoU with some object: Liu et al. 2016 (<https://arxiv.org/abs/1512.02325>), with the
/// parameters of torchvision's `RandomIoUCrop`. Cut objects are kept or removed by the rules of this module, not by the
/// positions of their centers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OverlapCrop {
    /// Minimum side of the crop, as a fraction of the image's side.
    pub min_side: f64,
    /// Number of attempts for each minimum IoU before another one is drawn.
    pub trials: usize,
}

impl Default for OverlapCrop {
    fn default() -> Self {
        Self { min_side: 0.3, trials: 40 }
    }
}

/// The minimum IoUs to draw from. At 1 the image is not cropped.
const OVERLAPS: [f64; 7] = [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0];

impl OverlapCrop {
    /// Crops the image at random and does not scale it. An image without objects is not changed.
    pub fn apply(&self, sample: Sample, random: &mut Random) -> Sample {
        let Target::Objects(objects) = &sample.target else { return sample };
        if !objects.iter().any(|object| !object.ignore) {
            return sample;
        }
        let trained =
            objects.iter().filter(|object| !object.ignore).map(|object| object.bbox).collect::<Vec<_>>();
        // One draw in seven ends the loop with the whole image, so the loop seldom reaches its limit.
        for _ in 0..100 {
            let min = OVERLAPS[random.random_range(0..OVERLAPS.len())];
            if min >= 1.0 {
                return sample;
            }
            for _ in 0..self.trials {
                let Some(crop) = self.draw(sample.image.size, random) else { continue };
                if trained.iter().any(|bbox| center_in(*bbox, crop) && bbox.iou(corners(crop).into()) >= min)
                {
                    return cropped(&sample, crop);
                }
            }
        }
        sample
    }

    fn draw(&self, size: Size, random: &mut Random) -> Option<Rect> {
        let mut side =
            |whole: u32| ((f64::from(whole) * between(self.min_side, 1.0, random)) as u32).clamp(1, whole);
        let (width, height) = (side(size.width), side(size.height));
        let shape = f64::from(width) / f64::from(height);
        let x = random.random_range(0..=size.width - width);
        let y = random.random_range(0..=size.height - height);
        (0.5..=2.0).contains(&shape).then_some(Rect { x, y, width, height })
    }
}

fn corners(crop: Rect) -> [f32; 4] {
    [crop.x, crop.y, crop.x + crop.width, crop.y + crop.height].map(|corner| corner as f32)
}

fn center_in(bbox: BBox, crop: Rect) -> bool {
    let [x1, y1, x2, y2] = corners(crop);
    let (x, y) = (f32::midpoint(bbox.x1, bbox.x2), f32::midpoint(bbox.y1, bbox.y2));
    x1 < x && x < x2 && y1 < y && y < y2
}

fn cropped(sample: &Sample, crop: Rect) -> Sample {
    let size = Size { width: crop.width, height: crop.height };
    viewed(sample, View { from: part(crop), to: all_of(size) }, size)
}

fn part(crop: Rect) -> Part {
    let [x, y, width, height] = [crop.x, crop.y, crop.width, crop.height].map(f64::from);
    Part { x, y, width, height }
}

/// A random crop that is scaled to a fixed size: torchvision's `RandomResizedCrop`, with which classifiers are trained
/// (Szegedy et al. 2015, <https://arxiv.org/abs/1409.4842>).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ResizedCrop {
    /// The size of the result.
    pub size: Size,
    /// Minimum area of the crop, as a fraction of the image's area.
    pub min_area: f64,
    /// Highest aspect ratio (width to height); the lowest is its inverse.
    pub max_aspect_ratio: f64,
}

impl ResizedCrop {
    /// Returns a crop with torchvision's parameters.
    pub const fn torchvision(size: Size) -> Self {
        Self { size, min_area: 0.08, max_aspect_ratio: 4.0 / 3.0 }
    }

    pub fn apply(&self, sample: &Sample, random: &mut Random) -> Sample {
        let crop = self.draw(sample.image.size, random);
        viewed(sample, View { from: part(crop), to: all_of(self.size) }, self.size)
    }

    fn draw(&self, source: Size, random: &mut Random) -> Rect {
        let (width, height) = (f64::from(source.width), f64::from(source.height));
        let ratio = self.max_aspect_ratio.ln();
        for _ in 0..10 {
            let area = width * height * between(self.min_area, 1.0, random);
            let shape = between(-ratio, ratio, random).exp();
            let (w, h) = ((area * shape).sqrt().round() as u32, (area / shape).sqrt().round() as u32);
            if (1..=source.width).contains(&w) && (1..=source.height).contains(&h) {
                let x = random.random_range(0..=source.width - w);
                let y = random.random_range(0..=source.height - h);
                return Rect { x, y, width: w, height: h };
            }
        }
        // The image is too wide or too high for all drawn crops: take its center with the nearest allowed aspect ratio.
        let shape = (width / height).clamp(1.0 / self.max_aspect_ratio, self.max_aspect_ratio);
        let w = (width.min(height * shape).round() as u32).clamp(1, source.width);
        let h = (height.min(width / shape).round() as u32).clamp(1, source.height);
        Rect { x: (source.width - w) / 2, y: (source.height - h) / 2, width: w, height: h }
    }
}

/// Resizes a sample to the network's input, in the same way as for inference.
pub fn fitted(sample: Sample, fit: ResizeMode, input: Size) -> Sample {
    let Sample { name, image: SampleImage { size, rgb }, target } = sample;
    let placement = fit.place(size, input);
    let source = image::RgbImage::from_raw(size.width, size.height, rgb).unwrap_or_default();
    let image = ResizedImage::new(&source, fit, input);
    let target = match target {
        Target::Objects(objects) => {
            let (scale_x, scale_y) = (f64::from(placement.scale_x), f64::from(placement.scale_y));
            // The part of the source that a center crop keeps.
            let from = Part {
                x: f64::from(-placement.offset_x).max(0.0) / scale_x,
                y: f64::from(-placement.offset_y).max(0.0) / scale_y,
                width: (f64::from(input.width) / scale_x).min(f64::from(size.width)),
                height: (f64::from(input.height) / scale_y).min(f64::from(size.height)),
            };
            let side = |side: f64, scale: f64| (side * scale).round() as u32;
            let to = Rect {
                x: placement.offset_x.max(0.0) as u32,
                y: placement.offset_y.max(0.0) as u32,
                width: side(from.width, scale_x).min(input.width),
                height: side(from.height, scale_y).min(input.height),
            };
            Target::Objects(View { from, to }.objects(&objects))
        }
        whole @ Target::Class(_) => whole,
    };
    Sample { name, image: SampleImage { size: input, rgb: image.pixels.rgb().to_vec() }, target }
}
