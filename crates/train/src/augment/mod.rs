//! Pictures changed by chance, with what is true of them: functions of a sample and of seeded random numbers.
//!
//! Whatever is done, a box stays within its picture. Of an object that is cut, the part that is left decides:
//! below [`LEAST_TRAINED`] it is ignored, below [`LEAST_KEPT`], or a pixel in width or height, it is gone.
//! Pictures are scaled by the filter that brings them to the networks at work.

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
    view::{LEAST_KEPT, LEAST_TRAINED, MEAN_COLOR},
};

#[cfg(test)]
mod tests;
