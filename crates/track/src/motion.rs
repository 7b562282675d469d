//! Motion model of an object's box: independent Kalman filters for center x, center y, width and height.

use lookout_schema::{BBox, Size};
use serde::{Deserialize, Serialize};

use crate::{
    kalman::Kalman,
    turn_likelihood::{Course, Doubt, Expected, Known, parts},
};

/// Standard deviations of a detector's boxes, in position and size, as fractions of the box's size, with
/// lower bounds in pixels.
const PLACE_ERROR: f64 = 0.025;
const MIN_PLACE_ERROR_PX: f64 = 1.7;
const SIZE_ERROR: f64 = 0.04;
const MIN_SIZE_ERROR_PX: f64 = 2.5;

/// Priors of the motion, as standard deviations in units of the object's size: the speed per second, and the
/// change of the speed within a second with its bounds; then the same for the size, which changes more
/// slowly.
const SPEED: f64 = 1.5;
const SPEED_CHANGE: f64 = 0.3;
const MIN_SPEED_CHANGE: f64 = 0.15;
const MAX_SPEED_CHANGE: f64 = 2.0;
const GROWTH: f64 = 0.2;
const GROWTH_CHANGE: f64 = 0.05;

/// Gain per detection with which the process noise adapts, and the maximum squared normalized innovation that
/// one detection contributes.
const RESTLESS_GAIN: f64 = 0.1;
const MAX_SURPRISE: f64 = 8.0;

/// An object that turned around or bounced off the border is at most this far from its last detection:
/// `REACH` times the distance that it would have traveled, plus `REACH_SIZES` times its size.
const REACH: f64 = 1.2;
const REACH_SIZES: f64 = 0.6;

/// A moving box.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Motion {
    x: Kalman,
    y: Kalman,
    width: Kalman,
    height: Kalman,
    /// Adaptive process noise: the logarithm of the standard deviation of the speed's change within a second,
    /// in object sizes. Some people walk straight and some turn around, and a wrong assumption costs a track
    /// its identity during occlusion.
    restless: f64,
}

fn place_error(size: f64) -> f64 {
    (PLACE_ERROR * size).max(MIN_PLACE_ERROR_PX)
}

fn size_error(size: f64) -> f64 {
    (SIZE_ERROR * size).max(MIN_SIZE_ERROR_PX)
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

    /// Predicts the state `dt` seconds ahead. An undetected object keeps its size.
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

    /// Updates the state with a detection, given the prediction `expected`.
    pub(crate) fn update(&mut self, seen: BBox, expected: &Expected) {
        let [x, y, width, height] = expected.whole(seen);
        let (place_error, size_error) = (place_error(self.size()), size_error(self.size()));
        let turned = expected.turned_to([x, y], place_error);
        if turned.iter().all(Option::is_none) {
            let surprise = self.x.surprise(x, place_error).powi(2) + self.y.surprise(y, place_error).powi(2);
            // The sum of two squared normalized innovations, each of which has the mean 1.
            self.restless += RESTLESS_GAIN * (surprise.min(MAX_SURPRISE) / 2.0 - 1.0);
            self.restless = self.restless.clamp(MIN_SPEED_CHANGE.ln(), MAX_SPEED_CHANGE.ln());
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

    /// Returns the fraction of the predicted box that is inside an image of size `source`.
    pub(crate) fn within(&self, source: Size) -> f64 {
        let area = |b: BBox| f64::from(b.x2 - b.x1) * f64::from(b.y2 - b.y1);
        self.bbox().clipped(source).map_or(0.0, area) / area(self.bbox())
    }

    /// Returns whether an object last detected `since_s` seconds ago can be at `bbox`, whichever way it
    /// turned.
    pub(crate) fn reaches(&self, bbox: BBox, since_s: f64) -> bool {
        let [x, y, ..] = parts(bbox);
        let before = [self.x, self.y].map(|part| part.value - part.rate * since_s);
        let way = self.x.rate.hypot(self.y.rate) * since_s.min(1.0);
        (x - before[0]).hypot(y - before[1]) <= REACH * way + REACH_SIZES * self.size()
    }

    /// Returns the density of the object's next detection, if its last one was `since_s` seconds ago. `back`
    /// is the probability that it returns if its path leads out of the image of size `source`.
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

    /// Returns the predicted box.
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

    /// Returns the velocity of the center, in pixels per second.
    pub(crate) fn velocity(&self) -> [f32; 2] {
        [self.x.rate as f32, self.y.rate as f32]
    }
}
