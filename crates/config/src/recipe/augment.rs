//! `[augment]`: how pictures are changed by chance before the network learns from them.

use std::ops::RangeInclusive;

use crate::reader::Section;

/// `[augment]`: how pictures are changed by chance before the network learns from them.
///
/// What is named a chance is between 0, never, and 1, always.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AugmentSettings {
    /// The chance that left and right are exchanged.
    pub flip: f64,
    /// Of detectors: the chance of a crop that keeps a least overlap with an object.
    pub overlap_crop: f64,
    /// Of detectors: the picture is scaled to lie within the input times a number between these two; what then
    /// reaches over is cut by chance. None has it lie within the input as it is.
    pub scale: Option<[f64; 2]>,
    /// Of classifiers: the least part of a picture that is shown. None has the picture come as at work.
    pub crop_area: Option<f64>,
    /// The chance that the colors are changed, by no more than what follows.
    pub color: f64,
    /// By factors between 1 - x and 1 + x.
    pub brightness: f64,
    /// By factors between 1 - x and 1 + x.
    pub contrast: f64,
    /// By factors between 1 - x and 1 + x.
    pub saturation: f64,
    /// By so much of the circle to both sides.
    pub hue: f64,
    /// The chance that four pictures are put together.
    pub mosaic: f64,
    /// The chance that two pictures are laid over one another, to shares of a beta distribution of `mixup_alpha`.
    pub mixup: f64,
    /// Both parameters of the beta distribution of `mixup`.
    pub mixup_alpha: f64,
    /// The chance that the picture is compressed, to a quality between the two of `jpeg_quality`.
    pub jpeg: f64,
    /// Lowest and highest JPEG quality, 1 to 100.
    pub jpeg_quality: [u8; 2],
}

const CHANCE: RangeInclusive<f64> = 0.0..=1.0;

impl AugmentSettings {
    /// What is usual: for a classifier torchvision's first recipe; for a detector flipped, scaled a little, and the
    /// colors a little off.
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
            // Each paper's own: Zhang et al. 2017 for classes, Zhang et al. 2019 for objects.
            mixup_alpha: if classifier { 0.2 } else { 1.5 },
            jpeg: 0.0,
            jpeg_quality: [60, 95],
        }
    }

    /// None at all: every picture comes as at work.
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
