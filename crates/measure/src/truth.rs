//! Ground truth of an image.

use lookout_schema::BBox;

/// The kind of the ignored objects in a data set, which decides how a detection that matches one is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IgnoredAre {
    /// Regions with many objects: COCO's `iscrowd`.
    Crowds,
    /// Objects that are hard to recognize: Pascal VOC's `difficult`.
    Difficult,
}

/// A ground-truth object in an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ObjectTarget {
    /// Class id from 1; 0 is the background.
    pub class_id: u32,
    /// Bounding box in pixels of the image.
    pub bbox: BBox,
    /// Whether the object is ignored, such as a crowd or an object that is too small or occluded. It is not trained on,
    /// and in evaluation a match is not a true positive and a miss is not a false negative.
    pub ignore: bool,
    /// Area in square pixels from the data set: that of the object's outline rather than of its box, where known.
    pub area: f32,
}
