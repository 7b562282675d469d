//! Likelihood of a detection, given an object that moves as predicted or makes an unpredicted turn.
//!
//! Each axis has two hypotheses: the object continued, or it turned. A box that the second hypothesis
//! explains better is used under the second, with the speed that follows from it. An update under the first
//! hypothesis would keep most of the old speed, and the track would be lost in the next frames. The scheme of
//! one filter per hypothesis, of which the likelier is kept, is from Ackerson and Fu, On State Estimation in
//! Switching Environments, 1970. The axes are independent because an object that bounces off a border keeps
//! its speed along the border.

use std::f64::consts::TAU;

use lookout_schema::{BBox, Size};

use crate::{kalman::Kalman, truncated_box};

/// Probability that an object turns within a second, and the upper bound of the probability that it has
/// turned.
const TURNS: f64 = 0.03;
const MAX_TURNS: f64 = 0.3;

/// Probability that an object that returns from the border is seen as if it had bounced off it.
const THROWN_BACK: f64 = 0.5;

/// Standard deviation of the position of an object that turned: a fraction of its size around its last
/// detected position, and a fraction of the distance that it would have traveled since.
const TURNED_SIZES: f64 = 0.15;
const TURNED_WAY: f64 = 0.7;

/// The same for an object that bounced off the border. The reflection point lies between its center and its
/// side (`INSET`); the uncertainty is its size times 0.29, the standard deviation of a uniform distribution.
const INSET: f64 = 0.5;
const THROWN_BACK_SIZES: f64 = 0.3;
const THROWN_BACK_WAY: f64 = 0.22;

/// Standard deviation of the speed after a turn, in object sizes per second, and, after a bounce, of the
/// difference from the reversed speed.
const TURNED_SPEED: f64 = 1.5;
const THROWN_BACK_SPEED: f64 = 0.3;

/// Probability that a box has another size than predicted, for example because of partial occlusion, and the
/// standard deviation of that size, as a fraction of the object's size.
const OTHER_SIZE: f64 = 0.03;
const OTHER_SIZES: f64 = 0.2;

/// Returns center x, center y, width and height.
pub(crate) fn parts(bbox: BBox) -> [f64; 4] {
    let [x1, y1, x2, y2] = <[f32; 4]>::from(bbox).map(f64::from);
    [(x1 + x2) / 2.0, (y1 + y2) / 2.0, x2 - x1, y2 - y1]
}

/// A weighted normal distribution.
#[derive(Debug, Clone, Copy)]
struct Normal {
    at: f64,
    spread: f64,
    ln: f64,
}

impl Normal {
    fn new(at: f64, spread: f64, weight: f64) -> Self {
        Self { at, spread, ln: 0.5 * (weight.powi(2) / (TAU * spread)).ln() }
    }

    fn ln_likelihood(&self, value: f64) -> f64 {
        self.ln - 0.5 * (value - self.at).powi(2) / self.spread
    }
}

/// The predicted state of an object along one axis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Course {
    /// The center, its rate per second, and the innovation variance of a measurement of the center.
    pub(crate) at: f64,
    pub(crate) rate: f64,
    pub(crate) spread: f64,
    /// The length of the box and of the image along this axis.
    pub(crate) length: f64,
    pub(crate) side: f64,
}

/// The part of the prediction that both axes share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doubt {
    /// The geometric mean of width and height.
    pub(crate) size: f64,
    /// The speed in pixels per second, and the time since the last detection in seconds.
    pub(crate) speed: f64,
    pub(crate) since_s: f64,
    /// The probability that the object returns if its path leads out of the image.
    pub(crate) back: f64,
}

/// The position along one axis under both hypotheses (`on`: continued, `turned`), and the rate after a turn
/// with its standard deviation.
#[derive(Debug, Clone, Copy)]
struct Direction {
    on: Normal,
    turned: Normal,
    rate: f64,
    rate_std: f64,
}

impl Direction {
    fn new(course: Course, doubt: Doubt) -> Self {
        let half = course.length.max(1.0) / 2.0;
        let within = (half..=course.side - half).contains(&course.at);
        if within { Self::or_turned(course, doubt) } else { Self::or_back(course, doubt) }
    }

    /// Builds the hypothesis of a turn at any time since the last detection.
    fn or_turned(course: Course, doubt: Doubt) -> Self {
        let weight = (TURNS * doubt.since_s).clamp(f64::MIN_POSITIVE, MAX_TURNS);
        let way = TURNED_WAY * doubt.speed * doubt.since_s;
        let spread = course.spread + (TURNED_SIZES * doubt.size).powi(2) + way.powi(2);
        Self {
            on: Normal::new(course.at, course.spread, 1.0),
            turned: Normal::new(course.at - course.rate * doubt.since_s, spread, weight),
            rate: 0.0,
            rate_std: TURNED_SPEED * doubt.size,
        }
    }

    /// Builds the hypothesis of a bounce. The object's path leads over the border; if it is detected at all
    /// it may not have left, and then it is as far inside the image as it would be outside.
    fn or_back(course: Course, doubt: Doubt) -> Self {
        let inset = INSET * course.length.max(1.0) / 2.0;
        let turned_at = course.at.min(course.side - inset).max(inset);
        let way = THROWN_BACK_WAY * course.rate * doubt.since_s;
        let spread = course.spread + (THROWN_BACK_SIZES * doubt.size).powi(2) + way.powi(2);
        Self {
            on: Normal::new(course.at, course.spread, 1.0),
            turned: Normal::new(2.0 * turned_at - course.at, spread, THROWN_BACK * doubt.back.powi(2)),
            rate: -course.rate,
            rate_std: THROWN_BACK_SPEED * doubt.size,
        }
    }

    fn ln_likelihood(&self, value: f64) -> f64 {
        self.on.ln_likelihood(value).max(self.turned.ln_likelihood(value))
    }

    /// Returns the filter state after a turn, for a detection at `value` with the standard deviation `error`,
    /// if a turn explains the detection better.
    fn turned_to(&self, value: f64, error: f64) -> Option<Kalman> {
        let turned = self.turned.ln_likelihood(value) > self.on.ln_likelihood(value);
        turned.then(|| Kalman::new(value, error, self.rate_std).with_rate(self.rate))
    }
}

/// A probability density over boxes, per pixel to the fourth.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    place: [Direction; 2],
    /// The distributions of width and height: as predicted, and, with less weight, of another size.
    size: [Normal; 2],
    other_size: [Normal; 2],
    bbox: BBox,
    source: Size,
    /// The standard deviation of a side of a box, in pixels.
    side_error: f64,
}

/// The inputs of an [`Expected`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) courses: [Course; 2],
    pub(crate) doubt: Doubt,
    /// The innovation variances of the width and the height.
    pub(crate) size_spread: [f64; 2],
    pub(crate) side_error: f64,
}

impl Expected {
    /// Creates the density for an object with the predicted box `bbox` in an image of size `source`.
    pub(crate) fn new(bbox: BBox, source: Size, known: Known) -> Self {
        let Known { courses, doubt, size_spread, side_error } = known;
        let lengths = courses.map(|course| course.length);
        let other = (OTHER_SIZES * doubt.size).powi(2);
        let size = |more: f64, weight: f64| {
            [0, 1].map(|i| Normal::new(lengths[i], size_spread[i] + more, weight.sqrt()))
        };
        Self {
            place: courses.map(|course| Direction::new(course, doubt)),
            size: size(0.0, 1.0),
            other_size: size(other, OTHER_SIZE),
            bbox,
            source,
            side_error,
        }
    }

    /// Returns center x, center y, width and height of the object, corrected for truncation at the image
    /// border.
    pub(crate) fn whole(&self, seen: BBox) -> [f64; 4] {
        parts(truncated_box::whole(seen, self.bbox, self.source, self.side_error))
    }

    /// Returns the log density at a box.
    pub(crate) fn ln_likelihood(&self, seen: BBox) -> f64 {
        let [x, y, width, height] = self.whole(seen);
        let of = |size: &[Normal; 2]| size[0].ln_likelihood(width) + size[1].ln_likelihood(height);
        let place = self.place[0].ln_likelihood(x) + self.place[1].ln_likelihood(y);
        place + of(&self.size).max(of(&self.other_size))
    }

    /// Returns the filter states of x and y after a turn, for a detection at `[x, y]` with the standard
    /// deviation `error`; `None` for each axis along which the object did not turn.
    pub(crate) fn turned_to(&self, [x, y]: [f64; 2], error: f64) -> [Option<Kalman>; 2] {
        [self.place[0].turned_to(x, error), self.place[1].turned_to(y, error)]
    }
}
