//! The chain of augmentation steps of a training run.

use lookout_config::AugmentSettings;
use lookout_model::usual_fit;
use lookout_schema::Size;
use lookout_stage::ResizeMode;
use rand::RngExt;

use super::{
    color::ColorJitter,
    flip::flipped,
    jpeg::compress,
    mixed::{mixup, mosaic},
    random::Random,
    scale::{OverlapCrop, ResizedCrop, ScaleJitter, fitted},
};
use crate::sample::Sample;

/// An augmentation step, with the probability (`chance`) at which it is applied if it is optional.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    Flip {
        chance: f64,
    },
    ScaleJitter(ScaleJitter),
    OverlapCrop {
        crop: OverlapCrop,
        chance: f64,
    },
    ResizedCrop(ResizedCrop),
    Color {
        jitter: ColorJitter,
        chance: f64,
    },
    Jpeg {
        quality: [u8; 2],
        chance: f64,
    },
    /// Mosaic with three other samples, to which the steps before this one are applied first.
    Mosaic {
        size: Size,
        chance: f64,
    },
    /// Mixup with another sample, to which the steps before this one are applied first.
    Mixup {
        alpha: f64,
        chance: f64,
    },
    /// Resizes to the network's input, as for inference.
    Resize {
        fit: ResizeMode,
        input: Size,
    },
}

/// Augmentation steps in the order in which they are applied.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recipe {
    pub steps: Vec<Step>,
}

impl Recipe {
    /// Returns the steps of `settings`, which bring images to the network's input.
    pub fn of(settings: &AugmentSettings, is_classifier: bool, input: Size) -> Self {
        let AugmentSettings { brightness, contrast, saturation, hue, .. } = *settings;
        let crop = OverlapCrop::default();
        let jitter = ColorJitter { brightness, contrast, saturation, hue };
        let resized = |least_area| ResizedCrop { least_area, ..ResizedCrop::usual(input) };
        let plain = Step::Resize { fit: usual_fit(is_classifier, input), input };
        let steps = [
            (settings.flip, Step::Flip { chance: settings.flip }),
            (settings.overlap_crop, Step::OverlapCrop { crop, chance: settings.overlap_crop }),
            // Exactly one step brings the image to the size of the input.
            match (settings.scale, settings.crop_area) {
                (Some([least, most]), _) => {
                    (1.0, Step::ScaleJitter(ScaleJitter { size: input, least, most }))
                }
                (None, Some(area)) => (1.0, Step::ResizedCrop(resized(area))),
                (None, None) => (1.0, plain),
            },
            (settings.color, Step::Color { jitter, chance: settings.color }),
            (settings.mosaic, Step::Mosaic { size: input, chance: settings.mosaic }),
            (settings.mixup, Step::Mixup { alpha: settings.mixup_alpha, chance: settings.mixup }),
            (settings.jpeg, Step::Jpeg { quality: settings.jpeg_quality, chance: settings.jpeg }),
        ];
        Self { steps: steps.into_iter().filter(|(chance, _)| *chance > 0.0).map(|(_, step)| step).collect() }
    }

    /// Returns a recipe that only resizes images to the network's input.
    pub fn plain(fit: ResizeMode, input: Size) -> Self {
        Self { steps: vec![Step::Resize { fit, input }] }
    }

    /// Applies the steps to a sample. `other` draws another sample of the data set, for steps that need several.
    ///
    /// # Errors
    /// Returns the errors of `other`.
    pub fn apply<E>(
        &self,
        sample: Sample,
        random: &mut Random,
        other: &mut dyn FnMut(&mut Random) -> Result<Sample, E>,
    ) -> Result<Sample, E> {
        apply(&self.steps, sample, random, other)
    }
}

fn apply<E>(
    steps: &[Step],
    mut sample: Sample,
    random: &mut Random,
    other: &mut dyn FnMut(&mut Random) -> Result<Sample, E>,
) -> Result<Sample, E> {
    for (at, step) in steps.iter().enumerate() {
        let mut is_made = |chance: f64| random.random::<f64>() < chance;
        match *step {
            Step::Flip { chance } if is_made(chance) => sample = flipped(sample),
            Step::ScaleJitter(jitter) => sample = jitter.apply(&sample, random),
            Step::OverlapCrop { crop, chance } if is_made(chance) => sample = crop.apply(sample, random),
            Step::ResizedCrop(crop) => sample = crop.apply(&sample, random),
            Step::Color { jitter, chance } if is_made(chance) => jitter.apply(&mut sample.picture, random),
            Step::Jpeg { quality, chance } if is_made(chance) => {
                compress(&mut sample.picture, quality, random);
            }
            Step::Mosaic { size, chance } if is_made(chance) => {
                let mut more = || {
                    let drawn = other(random)?;
                    apply(&steps[..at], drawn, random, other)
                };
                let (b, c, d) = (more()?, more()?, more()?);
                sample = mosaic([&sample, &b, &c, &d], size, random);
            }
            Step::Mixup { alpha, chance } if is_made(chance) => {
                let drawn = other(random)?;
                let drawn = apply(&steps[..at], drawn, random, other)?;
                sample = mixup(&sample, &drawn, alpha, random);
            }
            Step::Resize { fit, input } => sample = fitted(sample, fit, input),
            _ => {}
        }
    }
    Ok(sample)
}
