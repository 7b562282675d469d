//! Estimated rates at which new objects appear at the image border and inside the image.
//!
//! The rates decide whether an unexpected detection is more likely a new object or a known one that has
//! turned. On a road, where as many objects leave as arrive, a detection near the border is mostly new. In a
//! room it is mostly a person who has turned around.

use lookout_schema::{BBox, Size};
use serde::{Deserialize, Serialize};

/// Time constant of the exponential decay with which past arrivals are forgotten.
const MEMORY_S: f64 = 20.0;

/// Prior of the rates: these numbers of arrivals within `FIRST_S` seconds.
const FIRST_BORDER: f64 = 0.1;
const FIRST_INSIDE: f64 = 0.02;
const FIRST_S: f64 = 2.0;

/// Lower bounds of the rates, in arrivals per second.
const MIN_BORDER: f64 = 0.02;
const MIN_INSIDE: f64 = 0.005;

/// The border arrival rate, per second, at which half of the objects that move out of the image do leave it.
const HALF_LEAVE: f64 = 0.03;

/// The distance from the border within which a box counts as at the border, as a fraction of its longer side.
const BORDER: f32 = 0.3;

/// The area in (width, height) over which new objects of a size are evenly spread, as a fraction of the box's
/// area.
const SIZES: f64 = 0.1;

/// The time difference assumed for frames with equal capture times.
const MIN_DT_S: f64 = 0.001;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ArrivalRates {
    border: f64,
    inside: f64,
    watched_s: f64,
}

/// Where an object is first detected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Entry {
    Border,
    Inside,
}

impl Entry {
    pub(crate) fn of(bbox: BBox, source: Size) -> Self {
        let margin = BORDER * (bbox.x2 - bbox.x1).max(bbox.y2 - bbox.y1);
        let (width, height) = (source.width as f32, source.height as f32);
        let inside =
            bbox.x1 > margin && bbox.y1 > margin && bbox.x2 < width - margin && bbox.y2 < height - margin;
        if inside { Self::Inside } else { Self::Border }
    }
}

impl Default for ArrivalRates {
    fn default() -> Self {
        Self { border: FIRST_BORDER, inside: FIRST_INSIDE, watched_s: FIRST_S }
    }
}

impl ArrivalRates {
    pub(crate) fn pass(&mut self, dt: f64) {
        let dt = dt.min(MEMORY_S);
        let left = (-dt / MEMORY_S).exp();
        self.border *= left;
        self.inside *= left;
        self.watched_s = self.watched_s * left + dt;
    }

    pub(crate) fn count(&mut self, entry: Entry) {
        match entry {
            Entry::Border => self.border += 1.0,
            Entry::Inside => self.inside += 1.0,
        }
    }

    fn a_second(&self, entry: Entry) -> f64 {
        match entry {
            Entry::Border => (self.border / self.watched_s).max(MIN_BORDER),
            Entry::Inside => (self.inside / self.watched_s).max(MIN_INSIDE),
        }
    }

    /// Returns the probability that an object that moves out of the image does leave it, which assumes that
    /// as many objects leave as arrive.
    pub(crate) fn leaves(&self) -> f64 {
        let rate = self.a_second(Entry::Border);
        rate / (rate + HALF_LEAVE)
    }

    /// Returns the log density of new objects at this box, per frame and per pixel to the fourth (position
    /// and size), if the previous frame was `dt` seconds ago.
    pub(crate) fn ln_density(&self, bbox: BBox, source: Size, dt: f64) -> f64 {
        let (width, height) = (f64::from(source.width), f64::from(source.height));
        let size = f64::from(bbox.x2 - bbox.x1) * f64::from(bbox.y2 - bbox.y1);
        let entry = Entry::of(bbox, source);
        let area = match entry {
            Entry::Border => (width + height) * size.sqrt(),
            Entry::Inside => width * height,
        };
        (self.a_second(entry) * dt.max(MIN_DT_S) / (area.max(1.0) * SIZES * size)).ln()
    }
}
