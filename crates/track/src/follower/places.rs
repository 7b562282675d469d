//! The zones and lines of a camera, by name.

use std::collections::BTreeMap;

use lookout_schema::{Region, Size};

use crate::{Crossing, Line, LineState, Track, TrackId, Visit, Zone, ZoneState};
use serde::{Deserialize, Serialize};

/// Who steps out of a zone, or is out of sight, for less than this is still there.
const GRACE_S: f64 = 1.0;

/// How far off a line an object counts as on a side of it, in parts of the picture.
const BAND: f32 = 0.01;

#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    zones: BTreeMap<String, (Region, Zone)>,
    lines: BTreeMap<String, ([[f32; 2]; 2], Line)>,
}

/// Places with who is there. Each with where it lies, so that one which has been moved begins anew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct PlacesState {
    zones: BTreeMap<String, (Region, ZoneState)>,
    lines: BTreeMap<String, ([[f32; 2]; 2], LineState)>,
}

/// What a frame's objects have met.
#[derive(Debug, Default)]
pub(super) struct Met {
    pub(super) crossings: Vec<(String, Crossing)>,
    pub(super) visits: Vec<(String, Visit)>,
}

impl Met {
    pub(super) fn concerns(&self, id: TrackId) -> bool {
        self.crossings.iter().any(|(_, crossing)| crossing.id == id)
            || self.visits.iter().any(|(_, visit)| visit.id == id)
    }
}

impl Places {
    pub(super) fn resume(PlacesState { zones, lines }: PlacesState) -> Self {
        let zone = |(name, (region, state)): (String, (Region, ZoneState))| {
            (name, (region.clone(), Zone::resume(region, GRACE_S, state)))
        };
        let line = |(name, (ends, state))| (name, (ends, Line::resume(ends, BAND, state)));
        Self { zones: zones.into_iter().map(zone).collect(), lines: lines.into_iter().map(line).collect() }
    }

    pub(super) fn state(&self) -> PlacesState {
        let zone = |(name, (region, zone)): (&String, &(Region, Zone))| {
            (name.clone(), (region.clone(), zone.state().clone()))
        };
        let line = |(name, (ends, line)): (&String, &([[f32; 2]; 2], Line))| {
            (name.clone(), (*ends, line.state().clone()))
        };
        PlacesState {
            zones: self.zones.iter().map(zone).collect(),
            lines: self.lines.iter().map(line).collect(),
        }
    }

    pub(super) fn set(&mut self, zones: &BTreeMap<String, Region>, lines: &BTreeMap<String, [[f32; 2]; 2]>) {
        self.zones.retain(|name, (region, _)| zones.get(name) == Some(region));
        self.lines.retain(|name, (ends, _)| lines.get(name) == Some(ends));
        for (name, region) in zones {
            let fresh = || (region.clone(), Zone::new(region.clone(), GRACE_S));
            self.zones.entry(name.clone()).or_insert_with(fresh);
        }
        for (name, ends) in lines {
            self.lines.entry(name.clone()).or_insert_with(|| (*ends, Line::new(*ends, BAND)));
        }
    }

    pub(super) fn step(&mut self, at_s: f64, source: Size, tracks: &[Track]) -> Met {
        let mut met = Met::default();
        for (name, (_, zone)) in &mut self.zones {
            met.visits.extend(zone.step(at_s, source, tracks).into_iter().map(|visit| (name.clone(), visit)));
        }
        for (name, (_, line)) in &mut self.lines {
            let crossings = line.step(at_s, source, tracks);
            met.crossings.extend(crossings.into_iter().map(|crossing| (name.clone(), crossing)));
        }
        met
    }

    pub(super) fn zones(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = &Visit>)> {
        self.zones.iter().map(|(name, (_, zone))| (name.as_str(), zone.inside()))
    }

    /// The zones that an object is in, and for how long.
    pub(super) fn stays(&self, id: TrackId) -> impl Iterator<Item = (&str, f64)> {
        self.zones
            .iter()
            .filter_map(move |(name, (_, zone))| Some((name.as_str(), zone.visit(id)?.dwell_s())))
    }

    /// Nobody is where they were: another session begins.
    pub(super) fn forget(&mut self) {
        for (region, zone) in self.zones.values_mut() {
            *zone = Zone::new(region.clone(), GRACE_S);
        }
        for (ends, line) in self.lines.values_mut() {
            *line = Line::new(*ends, BAND);
        }
    }
}
