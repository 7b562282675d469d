//! The chain of augmentations of a training run.

use lookout_config::AugmentSettings;
use lookout_model::usual_fit;
use lookout_schema::Size;
use lookout_stage::ResizeMode;
use rand::RngExt;

use super::{
    color::ColorJitter,
    flip::flipped,
    jpeg::compress,
    mix::{mixup, mosaic},
    random::Random,
    scale::{OverlapCrop, ResizedCrop, ScaleJitter, fitted},
};
use crate::sample::Sample;

/// A transform, with the probability at which it is applied if it is optional.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Transform {
    Flip {
        probability: f64,
    },
    ScaleJitter(ScaleJitter),
    OverlapCrop {
        crop: OverlapCrop,
        probability: f64,
    },
    ResizedCrop(ResizedCrop),
    Color {
        jitter: ColorJitter,
        probability: f64,
    },
    Jpeg {
        quality: [u8; 2],
        probability: f64,
    },
    /// Mosaic with three other samples, to which the transforms before this one are applied first.
    Mosaic {
        size: Size,
        probability: f64,
    },
    /// Mixup with another sample, to which the transforms before this one are applied first.
    Mixup {
        alpha: f64,
        probability: f64,
    },
    /// Resizes to the network's input, as for inference.
    Resize {
        fit: ResizeMode,
        input: Size,
    },
}

/// Transforms in the order in which they are applied.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Augmentation {
    pub transforms: Vec<Transform>,
}

impl Augmentation {
    /// Returns the transforms of `settings`, which bring images to the network's input.
    pub fn of(settings: &AugmentSettings, is_classifier: bool, input: Size) -> Self {
        let AugmentSettings { brightness, contrast, saturation, hue, .. } = *settings;
        let crop = OverlapCrop::default();
        let jitter = ColorJitter { brightness, contrast, saturation, hue };
        let resized = |min_area| ResizedCrop { min_area, ..ResizedCrop::torchvision(input) };
        let plain = Transform::Resize { fit: usual_fit(is_classifier, input), input };
        let transforms = [
            (settings.flip, Transform::Flip { probability: settings.flip }),
            (settings.overlap_crop, Transform::OverlapCrop { crop, probability: settings.overlap_crop }),
            // Exactly one transform brings the image to the size of the input.
            match (settings.scale, settings.crop_area) {
                (Some([min, max]), _) => (1.0, Transform::ScaleJitter(ScaleJitter { size: input, min, max })),
                (None, Some(area)) => (1.0, Transform::ResizedCrop(resized(area))),
                (None, None) => (1.0, plain),
            },
            (settings.color, Transform::Color { jitter, probability: settings.color }),
            (settings.mosaic, Transform::Mosaic { size: input, probability: settings.mosaic }),
            (settings.mixup, Transform::Mixup { alpha: settings.mixup_alpha, probability: settings.mixup }),
            (settings.jpeg, Transform::Jpeg { quality: settings.jpeg_quality, probability: settings.jpeg }),
        ];
        Self {
            transforms: transforms
                .into_iter()
                .filter(|(probability, _)| *probability > 0.0)
                .map(|(_, transform)| transform)
                .collect(),
        }
    }

    /// Returns an augmentation that only resizes images to the network's input.
    pub fn plain(fit: ResizeMode, input: Size) -> Self {
        Self { transforms: vec![Transform::Resize { fit, input }] }
    }

    /// Applies the transforms to a sample. `other` draws another sample of the data set, for transforms that need several.
    ///
    /// # Errors
    /// Returns the errors of `other`.
    pub fn apply<E>(
        &self,
        sample: Sample,
        random: &mut Random,
        other: &mut dyn FnMut(&mut Random) -> Result<Sample, E>,
    ) -> Result<Sample, E> {
        apply(&self.transforms, sample, random, other)
    }
}

fn apply<E>(
    transforms: &[Transform],
    mut sample: Sample,
    random: &mut Random,
    other: &mut dyn FnMut(&mut Random) -> Result<Sample, E>,
) -> Result<Sample, E> {
    for (at, transform) in transforms.iter().enumerate() {
        let mut is_applied = |probability: f64| random.random::<f64>() < probability;
        match *transform {
            Transform::Flip { probability } if is_applied(probability) => sample = flipped(sample),
            Transform::ScaleJitter(jitter) => sample = jitter.apply(&sample, random),
            Transform::OverlapCrop { crop, probability } if is_applied(probability) => {
                sample = crop.apply(sample, random);
            }
            Transform::ResizedCrop(crop) => sample = crop.apply(&sample, random),
            Transform::Color { jitter, probability } if is_applied(probability) => {
                jitter.apply(&mut sample.image, random);
            }
            Transform::Jpeg { quality, probability } if is_applied(probability) => {
                compress(&mut sample.image, quality, random);
            }
            Transform::Mosaic { size, probability } if is_applied(probability) => {
                let mut more = || {
                    let drawn = other(random)?;
                    apply(&transforms[..at], drawn, random, other)
                };
                let (b, c, d) = (more()?, more()?, more()?);
                sample = mosaic([&sample, &b, &c, &d], size, random);
            }
            Transform::Mixup { alpha, probability } if is_applied(probability) => {
                let drawn = other(random)?;
                let drawn = apply(&transforms[..at], drawn, random, other)?;
                sample = mixup(&sample, &drawn, alpha, random);
            }
            Transform::Resize { fit, input } => sample = fitted(sample, fit, input),
            _ => {}
        }
    }
    Ok(sample)
}
