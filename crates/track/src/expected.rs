//! How likely a detection is, of an object that moves as expected, or that does what its motion does not foresee.
//!
//! Each direction has two hypotheses: the object went on, or it was turned. A box that is explained better by the
//! second is taken under the second, with the speed that follows from it: to take it for a surprise of the first
//! leaves most of the old speed, and the object is lost in the next frames. (One filter a hypothesis, of which the
//! likelier is kept: Ackerson and Fu, On State Estimation in Switching Environments, 1970.) A direction has its own,
//! since what is thrown back by a wall keeps its speed along the wall.

use std::f64::consts::TAU;

use lookout_schema::{BBox, Size};

use crate::{border, kalman::Kalman};

/// How likely an object is to turn within a second, and that it has turned at all.
const TURNS: f64 = 0.03;
const MOST_TURNS: f64 = 0.3;

/// How likely one that comes back from the border comes back as if thrown back by it.
const THROWN_BACK: f64 = 0.5;

/// Where one that turned may be, as standard deviations: so much of its size around where it was last seen, and
/// of the way that it would have gone since.
const TURNED_SIZES: f64 = 0.15;
const TURNED_WAY: f64 = 0.7;

/// The same for one that was thrown back: it is so somewhere between its center and its side (`INSET`), and what
/// lies between the two is its size, of which an even distribution's deviation is 0.29.
const INSET: f64 = 0.5;
const THROWN_BACK_SIZES: f64 = 0.3;
const THROWN_BACK_WAY: f64 = 0.22;

/// How fast one that turned goes on, as a standard deviation, in its sizes a second, and by how much of them one
/// that was thrown back is off from the same speed inwards.
const TURNED_SPEED: f64 = 1.5;
const THROWN_BACK_SPEED: f64 = 0.3;

/// How likely a box is to have another size than expected, as that of a half-hidden object has, and by how much.
const OTHER_SIZE: f64 = 0.03;
const OTHER_SIZES: f64 = 0.2;

/// Center, width and height.
pub(crate) fn parts(bbox: BBox) -> [f64; 4] {
    let [x1, y1, x2, y2] = <[f32; 4]>::from(bbox).map(f64::from);
    [(x1 + x2) / 2.0, (y1 + y2) / 2.0, x2 - x1, y2 - y1]
}

/// A normal distribution with a weight.
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

/// What is known of an object in one direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Course {
    /// Of its center, and the variance of a measurement of it.
    pub(crate) at: f64,
    pub(crate) rate: f64,
    pub(crate) spread: f64,
    /// Of the box in this direction, and of the picture.
    pub(crate) length: f64,
    pub(crate) side: f64,
}

/// What it has in common in all directions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doubt {
    /// The geometric mean of width and height.
    pub(crate) size: f64,
    /// In pixels a second, and for how long nobody has seen it.
    pub(crate) speed: f64,
    pub(crate) since_s: f64,
    /// How likely it is to come back if its way leads out of the picture.
    pub(crate) back: f64,
}

/// Where it is in one direction, if it went on, and if it was turned; and its rate then, with its deviation.
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

    /// It may have turned anywhere since it was last seen.
    fn or_turned(course: Course, doubt: Doubt) -> Self {
        let weight = (TURNS * doubt.since_s).clamp(f64::MIN_POSITIVE, MOST_TURNS);
        let way = TURNED_WAY * doubt.speed * doubt.since_s;
        let spread = course.spread + (TURNED_SIZES * doubt.size).powi(2) + way.powi(2);
        Self {
            on: Normal::new(course.at, course.spread, 1.0),
            turned: Normal::new(course.at - course.rate * doubt.since_s, spread, weight),
            rate: 0.0,
            rate_std: TURNED_SPEED * doubt.size,
        }
    }

    /// Its way leads over the border; if it is seen at all it may not have left, and then it is as far inside as
    /// it would be outside.
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

    /// What is known of it that was seen there, off by `error`, if it has rather turned.
    fn turned_to(&self, value: f64, error: f64) -> Option<Kalman> {
        let turned = self.turned.ln_likelihood(value) > self.on.ln_likelihood(value);
        turned.then(|| Kalman::new(value, error, self.rate_std).with_rate(self.rate))
    }
}

/// A density of boxes, a pixel to the fourth.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    place: [Direction; 2],
    /// Of width and height, as they were, and, with less weight, others.
    size: [Normal; 2],
    other_size: [Normal; 2],
    bbox: BBox,
    source: Size,
    /// By how much a side of a box is off.
    side_error: f64,
}

/// What an [`Expected`] is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) courses: [Course; 2],
    pub(crate) doubt: Doubt,
    /// Variances of measurements of the width and the height.
    pub(crate) size_spread: [f64; 2],
    pub(crate) side_error: f64,
}

impl Expected {
    /// Of an object whose box is expected at `bbox` in a picture of `source`.
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

    /// Center, width and height of the object that was seen as `seen`.
    pub(crate) fn whole(&self, seen: BBox) -> [f64; 4] {
        parts(border::whole(seen, self.bbox, self.source, self.side_error))
    }

    /// The logarithm of the density at a box.
    pub(crate) fn ln_likelihood(&self, seen: BBox) -> f64 {
        let [x, y, width, height] = self.whole(seen);
        let of = |size: &[Normal; 2]| size[0].ln_likelihood(width) + size[1].ln_likelihood(height);
        let place = self.place[0].ln_likelihood(x) + self.place[1].ln_likelihood(y);
        place + of(&self.size).max(of(&self.other_size))
    }

    /// What is known of x and y of an object that was seen there, off by `error`, where it has rather turned.
    pub(crate) fn turned_to(&self, [x, y]: [f64; 2], error: f64) -> [Option<Kalman>; 2] {
        [self.place[0].turned_to(x, error), self.place[1].turned_to(y, error)]
    }
}
