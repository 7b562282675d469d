//! The zones and lines of a camera, by name.

use std::collections::BTreeMap;

use lookout_schema::{Region, Size};

use crate::{Crossing, DwellInterval, Line, LineState, Track, TrackId, Zone, ZoneState};
use serde::{Deserialize, Serialize};

/// An object that leaves a zone, or is undetected, for at most this time still counts as inside.
const GRACE_S: f64 = 1.0;

/// The minimum distance from a line at which an object's side counts, as a fraction of the image.
const BAND: f32 = 0.01;

#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    zones: BTreeMap<String, (Region, Zone)>,
    lines: BTreeMap<String, ([[f32; 2]; 2], Line)>,
}

/// Zones and lines with their state. The geometry is included, so that a zone or line that was moved starts
/// empty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct PlacesState {
    zones: BTreeMap<String, (Region, ZoneState)>,
    lines: BTreeMap<String, ([[f32; 2]; 2], LineState)>,
}

/// The crossings and ended dwell intervals of one frame.
#[derive(Debug, Default)]
pub(super) struct Met {
    pub(super) crossings: Vec<(String, Crossing)>,
    pub(super) visits: Vec<(String, DwellInterval)>,
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

    pub(super) fn zones(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = &DwellInterval>)> {
        self.zones.iter().map(|(name, (_, zone))| (name.as_str(), zone.inside()))
    }

    /// Returns the zones that an object is in, with its dwell time in seconds.
    pub(super) fn stays(&self, id: TrackId) -> impl Iterator<Item = (&str, f64)> {
        self.zones
            .iter()
            .filter_map(move |(name, (_, zone))| Some((name.as_str(), zone.visit(id)?.dwell_s())))
    }

    /// Forgets the objects in all zones and at all lines, because another session starts.
    pub(super) fn forget(&mut self) {
        for (region, zone) in self.zones.values_mut() {
            *zone = Zone::new(region.clone(), GRACE_S);
        }
        for (ends, line) in self.lines.values_mut() {
            *line = Line::new(*ends, BAND);
        }
    }
}
