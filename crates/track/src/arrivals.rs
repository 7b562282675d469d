//! How often objects come into a picture that were not there before, at its border and inside of it. It decides
//! what an unexpected detection rather is: a new object, or one that has turned. On a road, where as many leave
//! as come, what is near the border is mostly new; in a room it is mostly somebody who has turned round.

use lookout_schema::{BBox, Size};
use serde::{Deserialize, Serialize};

/// What happened longer ago than this counts for less and less.
const MEMORY_S: f64 = 20.0;

/// The first guess: so many arrivals had been seen in so many seconds.
const FIRST_BORDER: f64 = 0.1;
const FIRST_INSIDE: f64 = 0.02;
const FIRST_S: f64 = 2.0;

/// Arrivals a second that are possible at any time.
const LEAST_BORDER: f64 = 0.02;
const LEAST_INSIDE: f64 = 0.005;

/// At this many arrivals a second at the border, half of those whose way leads out of the picture do leave.
const HALF_LEAVE: f64 = 0.03;

/// How near the border is still at the border, in parts of the box's longer side.
const BORDER: f32 = 0.3;

/// New objects are of about this part of all sizes that are as probable as their own.
const SIZES: f64 = 0.1;

/// Frames at the same time are taken to be so far apart.
const LEAST_DT_S: f64 = 0.001;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Arrivals {
    border: f64,
    inside: f64,
    watched_s: f64,
}

/// Where an object is first seen.
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

impl Default for Arrivals {
    fn default() -> Self {
        Self { border: FIRST_BORDER, inside: FIRST_INSIDE, watched_s: FIRST_S }
    }
}

impl Arrivals {
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
            Entry::Border => (self.border / self.watched_s).max(LEAST_BORDER),
            Entry::Inside => (self.inside / self.watched_s).max(LEAST_INSIDE),
        }
    }

    /// How likely it is that an object whose way leads out of the picture does leave it: as many leave as come.
    pub(crate) fn leaves(&self) -> f64 {
        let rate = self.a_second(Entry::Border);
        rate / (rate + HALF_LEAVE)
    }

    /// The logarithm of how densely new objects lie where this box is, a frame and a pixel to the fourth (of
    /// place and size), if the frame before was `dt` seconds ago.
    pub(crate) fn ln_density(&self, bbox: BBox, source: Size, dt: f64) -> f64 {
        let (width, height) = (f64::from(source.width), f64::from(source.height));
        let size = f64::from(bbox.x2 - bbox.x1) * f64::from(bbox.y2 - bbox.y1);
        let entry = Entry::of(bbox, source);
        let area = match entry {
            Entry::Border => (width + height) * size.sqrt(),
            Entry::Inside => width * height,
        };
        (self.a_second(entry) * dt.max(LEAST_DT_S) / (area.max(1.0) * SIZES * size)).ln()
    }
}
