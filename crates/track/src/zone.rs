//! Zones: the objects in a region of the image, and their dwell times.

use std::collections::BTreeMap;

use lookout_schema::{BBox, Region, Size};
use serde::{Deserialize, Serialize};

use crate::{Track, TrackId};

/// Returns the point where an object stands: the middle of its box's lower edge, as fractions of the image's
/// width and height.
pub(crate) fn foot(bbox: BBox, source: Size) -> [f32; 2] {
    [(bbox.x1 + bbox.x2) / 2.0 / source.width as f32, bbox.y2 / source.height as f32]
}

/// A dwell interval: one object's time in a zone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DwellInterval {
    /// The object's track.
    pub id: TrackId,
    /// The object's class.
    pub class_id: u32,
    /// First time in the zone, in seconds of the session.
    pub from_s: f64,
    /// Last time in the zone, in seconds of the session.
    pub to_s: f64,
}

impl DwellInterval {
    /// Returns the length of the interval in seconds.
    pub fn dwell_s(&self) -> f64 {
        self.to_s - self.from_s
    }
}

/// A region of a camera's image with the objects that stand in it.
#[derive(Debug, Clone)]
pub struct Zone {
    region: Region,
    /// An object that leaves the zone, or is undetected, for at most this time still counts as inside.
    grace_s: f64,
    state: ZoneState,
}

/// The serializable state of a [`Zone`]: the objects in it. The region is not part of it, so that a changed
/// zone takes effect.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ZoneState {
    inside: BTreeMap<TrackId, DwellInterval>,
}

impl Zone {
    /// Creates a zone. An object that leaves the region, or is undetected, for at most `grace_s` seconds still
    /// counts as inside.
    pub fn new(region: Region, grace_s: f64) -> Self {
        Self::resume(region, grace_s, ZoneState::default())
    }

    /// Restores a zone from its saved [`Self::state`].
    pub fn resume(region: Region, grace_s: f64, state: ZoneState) -> Self {
        Self { region, grace_s, state }
    }

    /// Returns the serializable state, for [`Self::resume`].
    pub fn state(&self) -> &ZoneState {
        &self.state
    }

    /// Processes the tracks of the frame at `at_s` seconds of the session, and returns the dwell intervals that have
    /// ended. A time that is not finite is ignored. A time that is earlier by more than the grace time ends all
    /// intervals of later frames.
    pub fn step(&mut self, at_s: f64, source: Size, tracks: &[Track]) -> Vec<DwellInterval> {
        if !at_s.is_finite() {
            return Vec::new();
        }
        for track in tracks.iter().filter(|track| self.region.contains(foot(track.bbox, source))) {
            let first = DwellInterval { id: track.id, class_id: track.class_id, from_s: at_s, to_s: at_s };
            self.state.inside.entry(track.id).or_insert(first).to_s = at_s;
        }
        let grace_s = self.grace_s;
        let is_over = |_: &TrackId, visit: &mut DwellInterval| (at_s - visit.to_s).abs() > grace_s;
        self.state.inside.extract_if(.., is_over).map(|(_, visit)| visit).collect()
    }

    /// Returns the current dwell intervals.
    pub fn inside(&self) -> impl Iterator<Item = &DwellInterval> {
        self.state.inside.values()
    }

    /// Returns the dwell interval of an object that is currently in the zone.
    pub fn visit(&self, id: TrackId) -> Option<&DwellInterval> {
        self.state.inside.get(&id)
    }

    /// Returns the number of objects in the zone, per class.
    pub fn counts(&self) -> BTreeMap<u32, usize> {
        let mut counts = BTreeMap::new();
        for visit in self.inside() {
            *counts.entry(visit.class_id).or_default() += 1;
        }
        counts
    }
}
