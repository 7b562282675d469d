//! Time to collision from the growth of an object's box, without camera calibration.
//!
//! An object of width `W` at distance `Z` is `s = f W / Z` pixels wide. If it approaches at a constant speed,
//! `1 / s = Z / (f W)` is a straight line over time that reaches zero at the collision, so the time to
//! collision is its value divided by its rate. A filter with a straight line as its model takes the inverse
//! of the size, whose error is the error of the size divided by the size squared. The idea is from Lee, A
//! Theory of Visual Control of Braking Based on Information about Time-to-Collision, 1976.
//!
//! The size is the diagonal of the box. Of all lengths that can be derived from a width and a height with
//! equal jitter in pixels, the diagonal has the smallest relative error, which matters for narrow boxes such
//! as those of people.
//!
//! The precision has a lower bound: from `n` boxes within `T` seconds, each with the relative size error `e`,
//! no rate can be estimated better than `3.5 e / (T sqrt(n))` per second. With a side error of 2 pixels at 10
//! frames/s, the rate of a 27-pixel object 6 s away that has been observed for 1.5 s has an error of 30 %.
//! The median error is under 10 % from 2 to 6 s for objects that are at least 40 pixels wide when they are 4
//! s away. Objects below 40 pixels, and objects below 100 pixels within the first 2 s of observation, reach
//! it only when they are nearer (`tests/closing.rs` prints the grid). The estimate's own standard deviation
//! reflects this: check [`TtcEstimate::latest_s`] before warning.

use lookout_schema::BBox;
use serde::{Deserialize, Serialize};

use crate::kalman::Kalman;

/// Default standard deviation of a box's side, in pixels.
const SIDE_ERROR_PX: f64 = 2.0;

/// Standard deviation of the relative change of the closing speed within a second. At this value gentle
/// braking changes the estimate and jitter does not.
const SPEED_CHANGE: f64 = 0.1;

/// Prior of the closing speed: a time to collision of this many seconds is one standard deviation.
const FASTEST_S: f64 = 1.0;

/// The maximum time between two boxes. After a longer gap the estimate restarts.
const GAP_S: f64 = 1.0;

/// A time-to-collision estimate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TtcEstimate {
    /// Time until the object reaches the camera if neither changes its speed; `None` if it does not approach.
    pub ttc_s: Option<f64>,
    /// Standard deviation of `rate`, in 1/s. It is given for the inverse of the time because jitter affects
    /// the inverse evenly.
    pub rate_std: f64,
    /// Inverse of the time to collision, in 1/s; positive if the object approaches.
    pub rate: f64,
    /// For how long the object has been observed, in seconds.
    pub observed_s: f64,
}

impl TtcEstimate {
    /// Returns the shortest time to collision within `deviations` standard deviations; `None` if the object
    /// does not approach even then.
    pub fn soonest_s(&self, deviations: f64) -> Option<f64> {
        seconds(self.rate + deviations * self.rate_std)
    }

    /// Returns the longest time to collision within `deviations` standard deviations; `None` if the object
    /// may not approach at all.
    pub fn latest_s(&self, deviations: f64) -> Option<f64> {
        seconds(self.rate - deviations * self.rate_std)
    }
}

fn seconds(rate: f64) -> Option<f64> {
    (rate > 0.0).then(|| 1.0 / rate)
}

/// Estimator of an object's time to collision. It has no settings; the struct itself is its serializable
/// state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TtcEstimator {
    /// Filter of the inverse of the size.
    filter: Option<Kalman>,
    first_s: f64,
    last_s: f64,
}

impl TtcEstimator {
    /// Processes the box at which a detector saw the object at `at_s` seconds of the session. The box must be
    /// complete: a box that the image border truncates does not show the object's size.
    pub fn step(&mut self, at_s: f64, bbox: BBox) -> Option<TtcEstimate> {
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
        // The error is derived from the expected size, so that a box that jitter has enlarged does not get
        // more weight.
        let sized = self
            .filter
            .filter(|filter| goes_on && filter.value > 0.0)
            .map_or(1.0, |f| 1.0 / (f.value * size));
        // Each side has the jitter of two edges, and so has the diagonal.
        let relative = (SIDE_ERROR_PX * 2.0_f64.sqrt() / (size * sized)).min(0.5);
        // The mean of the inverse of a jittering number is too large. Jitter across the diagonal, which
        // lengthens it, makes up for half of that.
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

    /// Returns the current estimate; `None` until there are two boxes.
    fn now(&self) -> Option<TtcEstimate> {
        let filter = self.filter.as_ref().filter(|_| self.last_s > self.first_s)?;
        let rate = -filter.rate / filter.value;
        let rate_std = filter.rate_std() / filter.value.abs();
        (filter.value > 0.0).then(|| TtcEstimate {
            ttc_s: seconds(rate),
            rate_std,
            rate,
            observed_s: self.last_s - self.first_s,
        })
    }
}
