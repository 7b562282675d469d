//! The detection filter of a camera.

use lookout_schema::{BBox, Region, Size};

/// Selects the detections of a camera that are published.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DetectionFilter {
    /// Keeps detections whose box's center lies in one of these regions. Empty keeps all.
    pub regions: Vec<Region>,
    /// Keeps detections with one of these labels. Empty keeps all.
    pub classes: Vec<String>,
}

static ALL: DetectionFilter = DetectionFilter { regions: Vec::new(), classes: Vec::new() };

impl DetectionFilter {
    /// Returns the filter that keeps every detection.
    pub fn all() -> &'static Self {
        &ALL
    }

    /// Returns whether a detection of `label` is kept. `bbox` is in pixels of a frame of size `source`.
    pub fn keeps(&self, label: &str, bbox: BBox, source: Size) -> bool {
        let center = [
            (bbox.x1 + bbox.x2) / 2.0 / source.width as f32,
            (bbox.y1 + bbox.y2) / 2.0 / source.height as f32,
        ];
        (self.classes.is_empty() || self.classes.iter().any(|class| class == label))
            && (self.regions.is_empty() || self.regions.iter().any(|region| region.contains(center)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detection_is_kept_by_its_class_and_the_center_of_its_box() {
        let source = Size { width: 200, height: 100 };
        let left = Region::new(vec![[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]]).unwrap();
        let at_left = BBox::from([10.0, 10.0, 150.0, 90.0]);
        let at_right = BBox::from([90.0, 10.0, 150.0, 90.0]);
        let all = DetectionFilter::all();
        assert!(all.keeps("cat", at_left, source) && all.keeps("cat", at_right, source));
        let some = DetectionFilter { regions: vec![left], classes: vec!["person".into()] };
        assert!(some.keeps("person", at_left, source));
        assert!(!some.keeps("person", at_right, source));
        assert!(!some.keeps("cat", at_left, source));
    }
}
