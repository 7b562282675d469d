//! Time to collision from how an object grows, with no calibration.
//!
//! An object of width `W` at the distance `Z` is `s = f W / Z` pixels wide. Where it comes nearer at a constant
//! speed, `1 / s = Z / (f W)` falls on a straight line, and meets zero when it is here: the time to collision is
//! the value over its rate. A filter with a straight line as its model takes the inverse of the size, whose error
//! is that of the size over its square. (Lee, A Theory of Visual Control of Braking Based on Information about
//! Time-to-Collision, 1976, is the origin of the idea.)
//!
//! The size is the diagonal. Of all lengths that can be made of width and height, where both jitter by as many
//! pixels, it is off by the smallest part of itself, which tells in boxes that are narrow, such as people's.
//!
//! What is possible is bounded: from `n` boxes within `T` seconds, each of whose size is off by the part `e`, no
//! rate can be told better than `3.5 e / (T sqrt(n))` a second. With sides off by 2 pixels at 10 frames/s, an object
//! of 27 pixels 6 s away that has been watched for 1.5 s is off by 30 % of its rate. The median error is under
//! 10 % from 2 to 6 s for objects that are 40 pixels wide or more when they are 4 s away; below 40 pixels, or within the
//! first 2 s of watching below 100, only when they are nearer (`tests/closing.rs` prints the grid). The estimate's
//! own deviation says so: ask [`Closing::latest_s`] before anybody is warned.

use lookout_schema::BBox;
use serde::{Deserialize, Serialize};

use crate::kalman::Kalman;

/// How large the jitter of a box's side is, in pixels, where nothing else is known.
const SIDE_ERROR_PX: f64 = 2.0;

/// Closing speeds change by this part of themselves within a second: gentle braking changes the estimate, and
/// jitter does not.
const SPEED_CHANGE: f64 = 0.1;

/// A first guess of how fast an object may come: here within this many seconds.
const FASTEST_S: f64 = 1.0;

/// Two boxes more than this apart are not one growth; it is begun anew.
const GAP_S: f64 = 1.0;

/// What the growth of an object says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Closing {
    /// Until it is here, if neither side changes its speed; none where it does not come nearer.
    pub ttc_s: Option<f64>,
    /// Standard deviation of the inverse of the time, in 1/s, which is what jitter disturbs evenly.
    pub rate_std: f64,
    /// The inverse of the time: above 0 where it comes nearer.
    pub rate: f64,
    /// For how long it has been watched.
    pub watched_s: f64,
}

impl Closing {
    /// The shortest time that it could be within `deviations` standard deviations; none where even then it does
    /// not come nearer.
    pub fn soonest_s(&self, deviations: f64) -> Option<f64> {
        seconds(self.rate + deviations * self.rate_std)
    }

    /// The longest time, which is none where it may not come nearer at all.
    pub fn latest_s(&self, deviations: f64) -> Option<f64> {
        seconds(self.rate - deviations * self.rate_std)
    }
}

fn seconds(rate: f64) -> Option<f64> {
    (rate > 0.0).then(|| 1.0 / rate)
}

/// An object's growth. It has no settings, and is itself what is saved and loaded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ClosingEstimate {
    /// Of the inverse of the size.
    filter: Option<Kalman>,
    first_s: f64,
    last_s: f64,
}

impl ClosingEstimate {
    /// Takes where a detector saw the object at `at_s` seconds of the session. The box must be whole: one that
    /// the picture's border cuts off says nothing of the object's size.
    pub fn step(&mut self, at_s: f64, bbox: BBox) -> Option<Closing> {
        let [width, height] = [bbox.x2 - bbox.x1, bbox.y2 - bbox.y1].map(f64::from);
        let size = width.hypot(height);
        if !(at_s.is_finite() && size.is_finite() && size > 2.0 * SIDE_ERROR_PX) {
            return None;
        }
        let dt = at_s - self.last_s;
        let goes_on = (0.0..=GAP_S).contains(&dt);
        if let Some(filter) = self.filter.as_mut().filter(|_| goes_on) {
            filter.predict(dt, (SPEED_CHANGE * filter.rate.abs()).powi(2));
        }
        // A box that jitter has made larger must not count for more, so its error is that of the size expected.
        let sized = self
            .filter
            .filter(|filter| goes_on && filter.value > 0.0)
            .map_or(1.0, |f| 1.0 / (f.value * size));
        // Each side is off by two edges' jitter, and so is the diagonal.
        let relative = (SIDE_ERROR_PX * 2.0_f64.sqrt() / (size * sized)).min(0.5);
        // The inverse of a number that jitters is too large in the mean, which is half made up for by the jitter
        // across the diagonal, which makes it longer.
        let inverse = (1.0 - relative.powi(2) / 2.0) / size;
        let error = relative / (size * sized);
        let fresh = || Kalman::new(inverse, error, inverse / FASTEST_S);
        match &mut self.filter {
            Some(filter) if goes_on => filter.update(inverse, error),
            filter => {
                *filter = Some(fresh());
                self.first_s = at_s;
            }
        }
        self.last_s = at_s;
        self.now()
    }

    /// What is known now; nothing before there were two boxes.
    fn now(&self) -> Option<Closing> {
        let filter = self.filter.as_ref().filter(|_| self.last_s > self.first_s)?;
        let rate = -filter.rate / filter.value;
        let rate_std = filter.rate_std() / filter.value.abs();
        (filter.value > 0.0).then(|| Closing {
            ttc_s: seconds(rate),
            rate_std,
            rate,
            watched_s: self.last_s - self.first_s,
        })
    }
}
