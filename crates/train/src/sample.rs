//! A picture with what is true of it.

use lookout_measure::ObjectTarget;
use lookout_schema::Size;

/// 8 bits each of red, green and blue, row by row, from the upper left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    pub size: Size,
    /// `height * width * 3`
    pub rgb: Vec<u8>,
}

/// A picture with what is true of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Names the picture in its data set.
    pub name: String,
    pub picture: Picture,
    pub target: Target,
}

/// What is true of a picture.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// The whole picture is of one class, or of several to a part of each where pictures were mixed: `(class, part)`.
    Class(Vec<(u32, f32)>),
    Objects(Vec<ObjectTarget>),
}
