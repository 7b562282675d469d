//! Random augmentation of images with their ground truth, as functions of a sample and a seeded random number
//! generator.
//!
//! A box never extends beyond its image. When an object is cut, its visible part decides how it is treated: below
//! [`MIN_TRAINED`] the object is ignored; below [`MIN_KEPT`], or below one pixel in width or height, it is removed.
//! Images are scaled with the same filter as for inference.

mod color;
mod flip;
mod jpeg;
mod mixed;
mod random;
mod recipe;
mod scale;
mod view;

pub use self::{
    color::ColorJitter,
    flip::flipped,
    jpeg::compress,
    mixed::{mixup, mosaic},
    random::{Random, random_for},
    recipe::{Recipe, Step},
    scale::{OverlapCrop, ResizedCrop, ScaleJitter, fitted},
    view::{MEAN_COLOR, MIN_KEPT, MIN_TRAINED},
};

#[cfg(test)]
mod tests;
