//! Who is in a part of the picture, and for how long.

use std::collections::BTreeMap;

use lookout_schema::{BBox, Region, Size};
use serde::{Deserialize, Serialize};

use crate::{Track, TrackId};

/// Where an object stands: the middle of its box's lower edge, in parts of the picture.
pub(crate) fn foot(bbox: BBox, source: Size) -> [f32; 2] {
    [(bbox.x1 + bbox.x2) / 2.0 / source.width as f32, bbox.y2 / source.height as f32]
}

/// An object's stay in a zone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
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
    state: ZoneState,
}

/// Who is in a [`Zone`], to be saved and loaded; where it lies is not part of it, so that a changed zone takes
/// effect.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ZoneState {
    inside: BTreeMap<TrackId, Visit>,
}

impl Zone {
    pub fn new(region: Region, grace_s: f64) -> Self {
        Self::resume(region, grace_s, ZoneState::default())
    }

    /// Goes on where a zone was when its [`Self::state`] was saved.
    pub fn resume(region: Region, grace_s: f64, state: ZoneState) -> Self {
        Self { region, grace_s, state }
    }

    pub fn state(&self) -> &ZoneState {
        &self.state
    }

    /// Takes a frame's tracks, at `at_s` seconds of the session, and gives the visits that are over. A time that
    /// is no number is passed over; one that is earlier by more than the grace ends what was there.
    pub fn step(&mut self, at_s: f64, source: Size, tracks: &[Track]) -> Vec<Visit> {
        if !at_s.is_finite() {
            return Vec::new();
        }
        for track in tracks.iter().filter(|track| self.region.contains(foot(track.bbox, source))) {
            let first = Visit { id: track.id, class_id: track.class_id, from_s: at_s, to_s: at_s };
            self.state.inside.entry(track.id).or_insert(first).to_s = at_s;
        }
        let grace_s = self.grace_s;
        let is_over = |_: &TrackId, visit: &mut Visit| (at_s - visit.to_s).abs() > grace_s;
        self.state.inside.extract_if(.., is_over).map(|(_, visit)| visit).collect()
    }

    /// Who is there now.
    pub fn inside(&self) -> impl Iterator<Item = &Visit> {
        self.state.inside.values()
    }

    /// An object's stay, if it is there now.
    pub fn visit(&self, id: TrackId) -> Option<&Visit> {
        self.state.inside.get(&id)
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
