//! `[[zone]]` and `[[line]]`: parts of cameras' pictures, of cameras that have none in the registry.

use std::collections::BTreeMap;

use lookout_schema::{CameraId, Region};

use crate::reader::Section;

/// Zones and lines by camera and name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MonitorPlaces {
    pub zones: BTreeMap<CameraId, BTreeMap<String, Region>>,
    pub lines: BTreeMap<CameraId, BTreeMap<String, [[f32; 2]; 2]>>,
}

/// The longest name of a zone or a line, in bytes.
const MAX_NAME: usize = 64;

impl MonitorPlaces {
    pub(super) fn read(root: &Section<'_, '_>) -> Self {
        let mut places = Self::default();
        for section in root.sections("zone").into_iter().flatten() {
            let points = section.points("points");
            let region = points.and_then(|points| {
                Region::new(points).map_err(|error| section.note("points", error.to_string())).ok()
            });
            if let (Some((camera, name)), Some(region)) = (place(&section), region)
                && places.zones.entry(camera).or_default().insert(name, region).is_some()
            {
                section.note("name", "this camera has a zone of this name already");
            }
            section.finish();
        }
        for section in root.sections("line").into_iter().flatten() {
            let ends = section.points("points").and_then(|points| ends(&section, &points));
            if let (Some((camera, name)), Some(ends)) = (place(&section), ends)
                && places.lines.entry(camera).or_default().insert(name, ends).is_some()
            {
                section.note("name", "this camera has a line of this name already");
            }
            section.finish();
        }
        places
    }
}

fn place(section: &Section<'_, '_>) -> Option<(CameraId, String)> {
    section.need("camera", "`camera` is needed: the id of the camera whose picture this is in");
    section.need("name", "`name` is needed");
    section.need("points", "`points` is needed: `[[x, y], ...]` in parts of the picture, each 0 to 1");
    let (camera, name) = (section.parsed("camera"), section.text("name"));
    if name.as_ref().is_some_and(|name| name.is_empty() || name.len() > MAX_NAME) {
        section.note("name", format!("a name has 1 to {MAX_NAME} letters"));
    }
    Some((camera?, name?))
}

fn ends(section: &Section<'_, '_>, points: &[[f32; 2]]) -> Option<[[f32; 2]; 2]> {
    let [from, to] = points else {
        section.note("points", format!("a line has two ends, this has {}", points.len()));
        return None;
    };
    if from == to || !from.iter().chain(to).all(|part| (0.0..=1.0).contains(part)) {
        section.note("points", "a line's ends differ, and lie in the picture: each part is from 0 to 1");
        return None;
    }
    Some([*from, *to])
}
