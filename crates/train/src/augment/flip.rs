//! Horizontal flip.

use lookout_schema::BBox;

use crate::sample::{Sample, Target};

/// Returns the sample flipped horizontally, with its boxes.
#[must_use]
pub fn flipped(mut sample: Sample) -> Sample {
    let width = sample.image.size.width;
    for row in sample.image.rgb.chunks_exact_mut((width as usize * 3).max(1)) {
        let (pixels, _) = row.as_chunks_mut::<3>();
        pixels.reverse();
    }
    if let Target::Objects(objects) = &mut sample.target {
        for object in objects {
            let BBox { x1, y1, x2, y2 } = object.bbox;
            object.bbox = BBox { x1: width as f32 - x2, y1, x2: width as f32 - x1, y2 };
        }
    }
    sample
}
