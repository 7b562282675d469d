//! Where an object's box goes: its center, width and height, each by itself.

use lookout_schema::{BBox, Size};
use serde::{Deserialize, Serialize};

use crate::{
    expected::{Course, Doubt, Expected, Known, parts},
    kalman::Kalman,
};

/// A detector's boxes are off by this part of their size, and by no less than some pixels, in place and in size.
const PLACE_ERROR: f64 = 0.025;
const LEAST_PLACE_ERROR_PX: f64 = 1.7;
const SIZE_ERROR: f64 = 0.04;
const LEAST_SIZE_ERROR_PX: f64 = 2.5;

/// Objects are as fast as this many of their own sizes a second, and change that by as much as the second number
/// within a second, as standard deviations; sizes change more slowly.
const SPEED: f64 = 1.5;
const SPEED_CHANGE: f64 = 0.3;
const LEAST_SPEED_CHANGE: f64 = 0.15;
const MOST_SPEED_CHANGE: f64 = 2.0;
const GROWTH: f64 = 0.2;
const GROWTH_CHANGE: f64 = 0.05;

/// How fast an object is found to be steadier or more restless than thought, a detection, and by how many
/// standard deviations squared a single one may speak for it.
const RESTLESS_GAIN: f64 = 0.1;
const MOST_SURPRISE: f64 = 8.0;

/// Whoever turned, or was thrown back, is no further from where it was last seen than its way in that time, and
/// some of its size.
const REACH: f64 = 1.2;
const REACH_SIZES: f64 = 0.6;

/// A box that moves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Motion {
    x: Kalman,
    y: Kalman,
    width: Kalman,
    height: Kalman,
    /// The logarithm of how much its speed changes, in sizes a second within a second: some walk straight on and
    /// some turn about, and to take either for the other costs its identity where it is hidden.
    restless: f64,
}

fn place_error(size: f64) -> f64 {
    (PLACE_ERROR * size).max(LEAST_PLACE_ERROR_PX)
}

fn size_error(size: f64) -> f64 {
    (SIZE_ERROR * size).max(LEAST_SIZE_ERROR_PX)
}

impl Motion {
    pub(crate) fn new(bbox: BBox) -> Self {
        let [x, y, width, height] = parts(bbox);
        let size = (width * height).sqrt();
        Self {
            x: Kalman::new(x, place_error(size), SPEED * size),
            y: Kalman::new(y, place_error(size), SPEED * size),
            width: Kalman::new(width, size_error(size), GROWTH * size),
            height: Kalman::new(height, size_error(size), GROWTH * size),
            restless: SPEED_CHANGE.ln(),
        }
    }

    fn size(&self) -> f64 {
        (self.width.value.max(1.0) * self.height.value.max(1.0)).sqrt()
    }

    /// Goes on by `dt` seconds. An object that nobody sees keeps its size.
    pub(crate) fn predict(&mut self, dt: f64, hidden: bool) {
        let size = self.size();
        let (speed, growth) = ((self.restless.exp() * size).powi(2), (GROWTH_CHANGE * size).powi(2));
        if hidden {
            self.width.rate = 0.0;
            self.height.rate = 0.0;
        }
        self.x.predict(dt, speed);
        self.y.predict(dt, speed);
        self.width.predict(dt, growth);
        self.height.predict(dt, growth);
    }

    /// Takes a detection of the object, which was expected so.
    pub(crate) fn update(&mut self, seen: BBox, expected: &Expected) {
        let [x, y, width, height] = expected.whole(seen);
        let (place_error, size_error) = (place_error(self.size()), size_error(self.size()));
        let turned = expected.turned_to([x, y], place_error);
        if turned.iter().all(Option::is_none) {
            let surprise = self.x.surprise(x, place_error).powi(2) + self.y.surprise(y, place_error).powi(2);
            // Two parts, each of which is off by one standard deviation squared in the mean.
            self.restless += RESTLESS_GAIN * (surprise.min(MOST_SURPRISE) / 2.0 - 1.0);
            self.restless = self.restless.clamp(LEAST_SPEED_CHANGE.ln(), MOST_SPEED_CHANGE.ln());
        }
        for (part, value, turned) in [(&mut self.x, x, turned[0]), (&mut self.y, y, turned[1])] {
            match turned {
                Some(turned) => *part = turned,
                None => part.update(value, place_error),
            }
        }
        self.width.update(width, size_error);
        self.height.update(height, size_error);
    }

    /// How much of the box is expected in a picture of `source`.
    pub(crate) fn within(&self, source: Size) -> f64 {
        let area = |b: BBox| f64::from(b.x2 - b.x1) * f64::from(b.y2 - b.y1);
        self.bbox().clipped(source).map_or(0.0, area) / area(self.bbox())
    }

    /// Whether a box is where the object can be that was last seen `since_s` ago, however it turned.
    pub(crate) fn reaches(&self, bbox: BBox, since_s: f64) -> bool {
        let [x, y, ..] = parts(bbox);
        let before = [self.x, self.y].map(|part| part.value - part.rate * since_s);
        let way = self.x.rate.hypot(self.y.rate) * since_s.min(1.0);
        (x - before[0]).hypot(y - before[1]) <= REACH * way + REACH_SIZES * self.size()
    }

    /// What a detection of the object, that was last seen `since_s` ago, is likely to be off; `back` is how likely
    /// it is to come back if its way leads out of the picture of `source`.
    pub(crate) fn expected(&self, since_s: f64, source: Size, back: f64) -> Expected {
        let size = self.size();
        let (place_error, size_error) = (place_error(size), size_error(size));
        let course = |part: &Kalman, length: &Kalman, side: u32| Course {
            at: part.value,
            rate: part.rate,
            spread: part.spread(place_error),
            length: length.value,
            side: f64::from(side),
        };
        let known = Known {
            courses: [
                course(&self.x, &self.width, source.width),
                course(&self.y, &self.height, source.height),
            ],
            doubt: Doubt { size, speed: self.x.rate.hypot(self.y.rate), since_s, back },
            size_spread: [self.width.spread(size_error), self.height.spread(size_error)],
            side_error: size_error,
        };
        Expected::new(self.bbox(), source, known)
    }

    /// Where the object is expected.
    pub(crate) fn bbox(&self) -> BBox {
        let (half_width, half_height) = (self.width.value.max(1.0) / 2.0, self.height.value.max(1.0) / 2.0);
        let corners = [
            self.x.value - half_width,
            self.y.value - half_height,
            self.x.value + half_width,
            self.y.value + half_height,
        ];
        BBox::from(corners.map(|corner| corner as f32))
    }

    /// Of the center, in pixels a second.
    pub(crate) fn velocity(&self) -> [f32; 2] {
        [self.x.rate as f32, self.y.rate as f32]
    }
}
