//! What is true of a picture.

use lookout_schema::BBox;

/// What is ignored in a data set, which decides how a detection on it is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IgnoredAre {
    /// Regions of many objects: COCO's `iscrowd`.
    Crowds,
    /// Objects that are hard to see: Pascal VOC's `difficult`.
    Difficult,
}

/// An object in a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ObjectTarget {
    /// From 1; 0 is the background.
    pub class_id: u32,
    /// In pixels of the picture, within it.
    pub bbox: BBox,
    /// A crowd, or too small or hidden: it is not trained on, and who finds it or does not is not blamed.
    pub ignore: bool,
    /// In square pixels, as the data set has it: of the object's outline rather than of its box, where that is known.
    pub area: f32,
}
