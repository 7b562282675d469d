//! Random augmentation of images with their ground truth, as functions of a sample and a seeded random number
//! generator.
//!
//! A box never extends beyond its image. When an object is cut, its visible part decides how it is treated: below
//! [`MIN_TRAINED`] the object is ignored; below [`MIN_KEPT`], or below one pixel in width or height, it is removed.
//! Images are scaled with the same filter as for inference.

mod augmentation;
mod color;
mod flip;
mod jpeg;
mod mix;
mod random;
mod scale;
mod view;

pub use self::{
    augmentation::{Augmentation, Transform},
    color::ColorJitter,
    flip::flipped,
    jpeg::compress,
    mix::{mixup, mosaic},
    random::{Random, random_for},
    scale::{OverlapCrop, ResizedCrop, ScaleJitter, fitted},
    view::{MEAN_COLOR, MIN_KEPT, MIN_TRAINED},
};

#[cfg(test)]
mod tests;
