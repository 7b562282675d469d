//! `[[zone]]` and `[[line]]`: zones and lines of cameras that have none in the registry.

use std::collections::BTreeMap;

use lookout_schema::{CameraId, Region};

use crate::reader::Section;

/// Zones and lines by camera and name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MonitorPlaces {
    /// Zones.
    pub zones: BTreeMap<CameraId, BTreeMap<String, Region>>,
    /// Lines, each with its two ends in fractions of the image's width and height.
    pub lines: BTreeMap<CameraId, BTreeMap<String, [[f32; 2]; 2]>>,
}

/// Maximum length of the name of a zone or a line, in bytes.
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
                section.note("name", "this camera already has a zone with this name");
            }
            section.finish();
        }
        for section in root.sections("line").into_iter().flatten() {
            let ends = section.points("points").and_then(|points| ends(&section, &points));
            if let (Some((camera, name)), Some(ends)) = (place(&section), ends)
                && places.lines.entry(camera).or_default().insert(name, ends).is_some()
            {
                section.note("name", "this camera already has a line with this name");
            }
            section.finish();
        }
        places
    }
}

fn place(section: &Section<'_, '_>) -> Option<(CameraId, String)> {
    section.need("camera", "`camera` is required: the id of the camera");
    section.need("name", "`name` is required");
    section.need("points", "`points` is required: `[[x, y], ...]` in fractions of the image, each 0 to 1");
    let (camera, name) = (section.parsed("camera"), section.text("name"));
    if name.as_ref().is_some_and(|name| name.is_empty() || name.len() > MAX_NAME) {
        section.note("name", format!("a name must have 1 to {MAX_NAME} bytes"));
    }
    Some((camera?, name?))
}

fn ends(section: &Section<'_, '_>, points: &[[f32; 2]]) -> Option<[[f32; 2]; 2]> {
    let [from, to] = points else {
        section.note("points", format!("a line has two ends, this one has {}", points.len()));
        return None;
    };
    if from == to || !from.iter().chain(to).all(|part| (0.0..=1.0).contains(part)) {
        section
            .note("points", "the ends of a line must differ and be in the image: each coordinate is 0 to 1");
        return None;
    }
    Some([*from, *to])
}
