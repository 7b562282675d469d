//! What a camera's user wants to know of.

use lookout_schema::{BBox, Region, Size};

/// Which detections of a camera are kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Keep {
    /// Those whose box's center lies in one of these; all where there are none.
    pub regions: Vec<Region>,
    /// Those of one of these classes, by label; all where there are none.
    pub classes: Vec<String>,
}

static ALL: Keep = Keep { regions: Vec::new(), classes: Vec::new() };

impl Keep {
    /// Every detection.
    pub fn all() -> &'static Self {
        &ALL
    }

    /// Whether a detection of `label` is kept, whose box is `bbox` in pixels of a frame of `source`.
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
        let all = Keep::all();
        assert!(all.keeps("cat", at_left, source) && all.keeps("cat", at_right, source));
        let some = Keep { regions: vec![left], classes: vec!["person".into()] };
        assert!(some.keeps("person", at_left, source));
        assert!(!some.keeps("person", at_right, source));
        assert!(!some.keeps("cat", at_left, source));
    }
}
