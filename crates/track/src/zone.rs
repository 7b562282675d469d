//! Who is in a part of the picture, and for how long.

use std::collections::BTreeMap;

use lookout_schema::{BBox, Region, Size};

use crate::{Track, TrackId};

/// Where an object stands: the middle of its box's lower edge, in parts of the picture.
pub(crate) fn foot(bbox: BBox, source: Size) -> [f32; 2] {
    [(bbox.x1 + bbox.x2) / 2.0 / source.width as f32, bbox.y2 / source.height as f32]
}

/// An object's stay in a zone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Visit {
    pub id: TrackId,
    pub class_id: u32,
    /// In seconds of the session.
    pub from_s: f64,
    pub to_s: f64,
}

impl Visit {
    pub fn dwell_s(&self) -> f64 {
        self.to_s - self.from_s
    }
}

/// A part of a camera's picture, and the objects that stand in it.
#[derive(Debug, Clone)]
pub struct Zone {
    region: Region,
    /// An object that steps out, or is out of sight, for less than this is still there.
    grace_s: f64,
    inside: BTreeMap<TrackId, Visit>,
}

impl Zone {
    pub fn new(region: Region, grace_s: f64) -> Self {
        Self { region, grace_s, inside: BTreeMap::new() }
    }

    /// Takes a frame's tracks, at `at_s` seconds of the session, and gives the visits that are over.
    pub fn step(&mut self, at_s: f64, source: Size, tracks: &[Track]) -> Vec<Visit> {
        for track in tracks.iter().filter(|track| self.region.contains(foot(track.bbox, source))) {
            let first = Visit { id: track.id, class_id: track.class_id, from_s: at_s, to_s: at_s };
            self.inside.entry(track.id).or_insert(first).to_s = at_s;
        }
        let grace_s = self.grace_s;
        self.inside.extract_if(.., |_, visit| at_s - visit.to_s > grace_s).map(|(_, visit)| visit).collect()
    }

    /// Who is there now.
    pub fn inside(&self) -> impl Iterator<Item = &Visit> {
        self.inside.values()
    }

    /// An object's stay, if it is there now.
    pub fn visit(&self, id: TrackId) -> Option<&Visit> {
        self.inside.get(&id)
    }

    /// How many of each class are there now.
    pub fn counts(&self) -> BTreeMap<u32, usize> {
        let mut counts = BTreeMap::new();
        for visit in self.inside() {
            *counts.entry(visit.class_id).or_default() += 1;
        }
        counts
    }
}
