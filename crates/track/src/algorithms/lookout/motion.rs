//! The motion model of a box: Kalman filters of its center, width and height, in seconds.

use lookout_schema::BBox;
use serde::{Deserialize, Serialize};

use crate::{
    bbox_parts::{from_parts, parts},
    kalman::Kalman,
};

/// Standard deviations of a detector's center x, center y, width and height, as fractions of the box's width, height,
/// width and height, and their lower bound in pixels. Faster R-CNN on MOT15 has 0.11, 0.05, 0.20 and 0.10.
const ERRORS: [f64; 4] = [0.13, 0.1, 0.2, 0.15];
const MIN_ERROR_PX: f64 = 3.0;

/// Standard deviations of an unknown speed and growth, in sizes of the box per second.
const SPEED: f64 = 2.0;
const GROWTH: f64 = 0.2;

/// Process noise: the standard deviation of the change of the speed within a second, in sizes of the box, plus a share
/// of the speed. Nearby and fast objects, and all objects in front of a moving camera, change their speed most.
const SPEED_CHANGE: f64 = 0.3;
const SPEED_CHANGE_SHARE: f64 = 0.3;
const GROWTH_CHANGE: f64 = 0.15;

/// The maximum share by which a box is expected to grow from one frame to the next.
const MAX_LOOMING: f64 = 0.5;

/// A moving box.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Motion {
    /// Center x, center y, width and height.
    filters: [Kalman; 4],
}

impl Motion {
    pub(super) fn new(bbox: BBox) -> Self {
        let values = parts(bbox);
        let size = (values[2] * values[3]).sqrt();
        let errors = errors(values);
        let rates = [SPEED * size, SPEED * size, GROWTH * size, GROWTH * size];
        Self { filters: [0, 1, 2, 3].map(|i| Kalman::new(values[i], errors[i], rates[i])) }
    }

    /// Predicts the box `dt` seconds ahead. An undetected object keeps its size.
    pub(super) fn predict(&mut self, dt: f64, is_missed: bool) {
        let size = self.size();
        let [x, y, width, height] = &mut self.filters;
        if is_missed {
            (width.rate, height.rate) = (0.0, 0.0);
        }
        let speed = x.rate.hypot(y.rate);
        let noise = (SPEED_CHANGE * size).powi(2) + (SPEED_CHANGE_SHARE * speed).powi(2);
        // An object that approaches at a constant speed moves and grows in proportion to its size: if the distance falls
        // by the factor `looming`, the speed in the image grows by its square.
        let growth = (height.rate * dt / height.value.max(1.0)).clamp(0.0, MAX_LOOMING);
        let looming = 1.0 / (1.0 - growth);
        for part in [x, y] {
            part.rate *= looming;
            part.predict(dt, noise);
            part.rate *= looming;
        }
        for part in [width, height] {
            part.predict(dt, (GROWTH_CHANGE * size).powi(2));
        }
    }

    /// Moves the box by the motion of the camera.
    pub(super) fn shift(&mut self, by: [f64; 2]) {
        self.filters[0].value += by[0];
        self.filters[1].value += by[1];
    }

    pub(super) fn update(&mut self, bbox: BBox) {
        let errors = errors(self.values());
        for ((filter, value), error) in self.filters.iter_mut().zip(parts(bbox)).zip(errors) {
            filter.update(value, error);
        }
    }

    /// Returns the innovation variances of center x, center y, width and height.
    pub(super) fn spreads(&self) -> [f64; 4] {
        let errors = errors(self.values());
        [0, 1, 2, 3].map(|i| self.filters[i].spread(errors[i]))
    }

    /// Returns center x, center y, width and height; the sizes are at least 1.
    pub(super) fn values(&self) -> [f64; 4] {
        let [x, y, width, height] = self.filters.map(|filter| filter.value);
        [x, y, width.max(1.0), height.max(1.0)]
    }

    pub(super) fn bbox(&self) -> BBox {
        from_parts(self.values())
    }

    /// Returns the velocity of the center, in pixels per second.
    pub(super) fn velocity(&self) -> [f64; 2] {
        [self.filters[0].rate, self.filters[1].rate]
    }

    /// Returns the geometric mean of the width and the height.
    pub(super) fn size(&self) -> f64 {
        let [_, _, width, height] = self.values();
        (width * height).sqrt()
    }
}

fn errors([_, _, width, height]: [f64; 4]) -> [f64; 4] {
    let sides = [width, height, width, height];
    [0, 1, 2, 3].map(|i| (ERRORS[i] * sides[i]).max(MIN_ERROR_PX))
}
