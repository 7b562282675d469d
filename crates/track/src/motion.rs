//! Where an object's box goes: its centre, width and height, each by itself.

use lookout_schema::{BBox, Size};
use serde::{Deserialize, Serialize};

use crate::kalman::Kalman;

/// A detector's boxes are off by this part of their size, and by no less than some pixels.
const BOX_ERROR: f64 = 0.04;
const LEAST_ERROR_PX: f64 = 2.0;

/// Objects are as fast as this many of their own sizes a second, and change that by as much as the second number
/// within a second, as standard deviations; sizes change more slowly.
const SPEED: f64 = 1.5;
const SPEED_CHANGE: f64 = 0.15;
const GROWTH: f64 = 0.3;
const GROWTH_CHANGE: f64 = 0.1;

/// A box that moves.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Motion {
    x: Kalman,
    y: Kalman,
    width: Kalman,
    height: Kalman,
}

fn parts(bbox: BBox) -> [f64; 4] {
    let [x1, y1, x2, y2] = <[f32; 4]>::from(bbox).map(f64::from);
    [(x1 + x2) / 2.0, (y1 + y2) / 2.0, x2 - x1, y2 - y1]
}

fn error(size: f64) -> f64 {
    (BOX_ERROR * size).max(LEAST_ERROR_PX)
}

impl Motion {
    pub(crate) fn new(bbox: BBox) -> Self {
        let [x, y, width, height] = parts(bbox);
        let size = (width * height).sqrt();
        Self {
            x: Kalman::new(x, error(size), SPEED * size),
            y: Kalman::new(y, error(size), SPEED * size),
            width: Kalman::new(width, error(size), GROWTH * size),
            height: Kalman::new(height, error(size), GROWTH * size),
        }
    }

    fn size(&self) -> f64 {
        (self.width.value.max(1.0) * self.height.value.max(1.0)).sqrt()
    }

    /// Goes on by `dt` seconds. An object that nobody sees keeps its size.
    pub(crate) fn predict(&mut self, dt: f64, hidden: bool) {
        let size = self.size();
        let (speed, growth) = ((SPEED_CHANGE * size).powi(2), (GROWTH_CHANGE * size).powi(2));
        if hidden {
            self.width.rate = 0.0;
            self.height.rate = 0.0;
        }
        self.x.predict(dt, speed);
        self.y.predict(dt, speed);
        self.width.predict(dt, growth);
        self.height.predict(dt, growth);
    }

    pub(crate) fn update(&mut self, bbox: BBox) {
        let [x, y, width, height] = parts(bbox);
        let error = error(self.size());
        self.x.update(x, error);
        self.y.update(y, error);
        self.width.update(width, error);
        self.height.update(height, error);
    }

    /// Whether a part of the box is expected in a picture of `source`.
    pub(crate) fn is_within(&self, source: Size) -> bool {
        self.bbox().clipped(source).is_some()
    }

    /// How many standard deviations a box is off what is expected, in place and in size.
    pub(crate) fn surprise(&self, bbox: BBox) -> f32 {
        let [x, y, width, height] = parts(bbox);
        let error = error(self.size());
        let place = self.x.surprise(x, error).hypot(self.y.surprise(y, error));
        let size = self.width.surprise(width, error).hypot(self.height.surprise(height, error));
        place.max(size) as f32
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

    /// Of the centre, in pixels a second.
    pub(crate) fn velocity(&self) -> [f32; 2] {
        [self.x.rate as f32, self.y.rate as f32]
    }
}
