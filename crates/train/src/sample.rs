//! An image with its ground truth. In the code an image is a `SampleImage`.

use lookout_measure::ObjectTarget;
use lookout_schema::Size;

/// An RGB image with 8 bits per channel, row by row from the upper left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleImage {
    pub size: Size,
    /// `height * width * 3` bytes.
    pub rgb: Vec<u8>,
}

/// An image with its ground truth.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The name of the image in its data set.
    pub name: String,
    pub image: SampleImage,
    pub target: Target,
}

/// The ground truth of an image.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// The classes of the whole image, as `(class, weight)`. The weights sum to 1. There is more than one class only
    /// where images were mixed (mosaic, mixup).
    Class(Vec<(u32, f32)>),
    Objects(Vec<ObjectTarget>),
}
