//! `[augment]`: random augmentation of the training images.

use std::ops::RangeInclusive;

use crate::reader::Section;

/// `[augment]`: random augmentation of the training images. Probabilities are 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AugmentSettings {
    /// Probability of a horizontal flip.
    pub flip: f64,
    /// For detectors: probability of a random crop that has a minimum IoU with an object.
    pub overlap_crop: f64,
    /// For detectors: range of the scale jitter. The image is scaled to fit the input size multiplied by a
    /// random factor from this range, and cropped at a random position where it exceeds the input. `None` for
    /// no jitter.
    pub scale: Option<[f64; 2]>,
    /// For classifiers: minimum area of the random crop, as a fraction of the image. `None` preprocesses the
    /// image as in inference.
    pub crop_area: Option<f64>,
    /// Probability of color jitter, whose limits are the next four fields.
    pub color: f64,
    /// Factor from 1 - x to 1 + x; also for contrast and saturation.
    pub brightness: f64,
    /// By factors between 1 - x and 1 + x.
    pub contrast: f64,
    /// By factors between 1 - x and 1 + x.
    pub saturation: f64,
    /// Maximum hue shift in either direction, as a fraction of the hue circle.
    pub hue: f64,
    /// Probability of a mosaic of four images.
    pub mosaic: f64,
    /// Probability of MixUp, a blend of two images. The blend weight is drawn from the beta distribution with
    /// the parameter `mixup_alpha`.
    pub mixup: f64,
    /// Both parameters of the beta distribution of `mixup`.
    pub mixup_alpha: f64,
    /// Probability of JPEG compression artifacts, with a quality from the range `jpeg_quality`.
    pub jpeg: f64,
    /// Lowest and highest JPEG quality, 1 to 100.
    pub jpeg_quality: [u8; 2],
}

const CHANCE: RangeInclusive<f64> = 0.0..=1.0;

impl AugmentSettings {
    /// Returns the defaults. For a classifier, they are those of torchvision's original recipe. For a
    /// detector, they are flips, a small scale jitter and a small color jitter.
    pub fn usual(classifier: bool) -> Self {
        let off = if classifier { 0.0 } else { 0.2 };
        Self {
            flip: 0.5,
            overlap_crop: 0.0,
            scale: (!classifier).then_some([0.8, 1.25]),
            crop_area: classifier.then_some(0.08),
            color: if classifier { 0.0 } else { 0.8 },
            brightness: off,
            contrast: off,
            saturation: off,
            hue: off / 10.0,
            mosaic: 0.0,
            mixup: 0.0,
            // The values of the papers: Zhang et al. 2017 for classifiers, Zhang et al. 2019 for detectors.
            mixup_alpha: if classifier { 0.2 } else { 1.5 },
            jpeg: 0.0,
            jpeg_quality: [60, 95],
        }
    }

    /// Returns settings without augmentation: images are preprocessed as in inference.
    pub fn none() -> Self {
        Self { flip: 0.0, scale: None, crop_area: None, color: 0.0, ..Self::usual(false) }
    }

    pub(super) fn read(section: Section<'_, '_>, classifier: bool) -> Self {
        let usual = Self::usual(classifier);
        for (key, of_classifier) in [("overlap_crop", false), ("scale", false), ("crop_area", true)] {
            if section.has(key) && of_classifier != classifier {
                let of = if of_classifier { "classifiers" } else { "detectors" };
                section.note(key, format!("this key is for {of} only; remove it"));
            }
        }
        let chance = |key, usual| section.number(key, CHANCE).unwrap_or(usual);
        let scale = section.exactly::<2>("scale");
        if scale.is_some_and(|[least, most]| !(0.05 <= least && least <= most && most <= 20.0)) {
            section.note("scale", "expected `[MIN, MAX]`, both between 0.05 and 20");
        }
        let quality = section.exactly::<2>("jpeg_quality");
        if quality.is_some_and(|[worst, best]| !(1.0 <= worst && worst <= best && best <= 100.0)) {
            section.note("jpeg_quality", "expected `[MIN, MAX]`, both between 1 and 100");
        }
        let settings = Self {
            flip: chance("flip", usual.flip),
            overlap_crop: chance("overlap_crop", usual.overlap_crop),
            scale: scale.or(usual.scale),
            crop_area: section.number("crop_area", 0.01..=1.0).or(usual.crop_area),
            color: chance("color", usual.color),
            brightness: chance("brightness", usual.brightness),
            contrast: chance("contrast", usual.contrast),
            saturation: chance("saturation", usual.saturation),
            hue: section.number("hue", 0.0..=0.5).unwrap_or(usual.hue),
            mosaic: chance("mosaic", usual.mosaic),
            mixup: chance("mixup", usual.mixup),
            mixup_alpha: section.number("mixup_alpha", 0.01..=100.0).unwrap_or(usual.mixup_alpha),
            jpeg: chance("jpeg", usual.jpeg),
            jpeg_quality: quality.map_or(usual.jpeg_quality, |ends| ends.map(|end| end as u8)),
        };
        section.finish();
        settings
    }
}
