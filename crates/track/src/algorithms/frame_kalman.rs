//! The Kalman filters of the published trackers, whose unit of time is a frame.

use lookout_schema::BBox;
use serde::{Deserialize, Serialize};

use crate::bbox_parts::{from_parts, parts};

/// A Kalman filter of one value with a constant rate per frame. The filters of SORT, ByteTrack and OC-SORT have diagonal
/// noise, so that their components are independent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct FrameKalman {
    pub(super) value: f64,
    pub(super) rate: f64,
    value_var: f64,
    covar: f64,
    rate_var: f64,
}

impl FrameKalman {
    /// Creates a filter at `value` with the variances of the value and of the rate, which is 0.
    pub(super) fn new(value: f64, value_var: f64, rate_var: f64) -> Self {
        Self { value, rate: 0.0, value_var, covar: 0.0, rate_var }
    }

    /// Predicts the next frame, with the process noise of the value and of the rate.
    pub(super) fn predict(&mut self, value_noise: f64, rate_noise: f64) {
        self.value += self.rate;
        self.value_var += 2.0 * self.covar + self.rate_var + value_noise;
        self.covar += self.rate_var;
        self.rate_var += rate_noise;
    }

    /// Updates the filter with a measurement of the variance `noise`.
    pub(super) fn update(&mut self, value: f64, noise: f64) {
        let spread = self.value_var + noise;
        let (gain, rate_gain) = (self.value_var / spread, self.covar / spread);
        let surprise = value - self.value;
        self.value += gain * surprise;
        self.rate += rate_gain * surprise;
        self.rate_var -= rate_gain * self.covar;
        self.covar *= 1.0 - gain;
        self.value_var *= 1.0 - gain;
    }
}

/// The filter of SORT and OC-SORT: center x, center y, area and aspect ratio, of which the ratio has no rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct AreaKalman([FrameKalman; 4]);

impl AreaKalman {
    const MEASUREMENT_NOISE: [f64; 4] = [1.0, 1.0, 10.0, 10.0];
    const RATE_NOISE: [f64; 4] = [0.01, 0.01, 0.0001, 0.0];

    pub(super) fn new(bbox: BBox) -> Self {
        let rate_var = [1e4, 1e4, 1e4, 0.0];
        let measured = measured(bbox);
        Self([0, 1, 2, 3].map(|i| FrameKalman::new(measured[i], 10.0, rate_var[i])))
    }

    pub(super) fn predict(&mut self) {
        if self.0[2].value + self.0[2].rate <= 0.0 {
            self.0[2].rate = 0.0;
        }
        for (part, noise) in self.0.iter_mut().zip(Self::RATE_NOISE) {
            part.predict(1.0, noise);
        }
    }

    pub(super) fn update(&mut self, bbox: BBox) {
        for ((part, value), noise) in self.0.iter_mut().zip(measured(bbox)).zip(Self::MEASUREMENT_NOISE) {
            part.update(value, noise);
        }
    }

    /// Returns the box, or `None` if the area or the ratio is not positive.
    pub(super) fn bbox(&self) -> Option<BBox> {
        let [x, y, area, ratio] = self.0.map(|part| part.value);
        let width = (area * ratio).sqrt();
        (width > 0.0 && area > 0.0).then(|| from_parts([x, y, width, area / width]))
    }

    /// Returns the velocity of the center per frame.
    pub(super) fn velocity(&self) -> [f64; 2] {
        [self.0[0].rate, self.0[1].rate]
    }
}

fn measured(bbox: BBox) -> [f64; 4] {
    let [x, y, width, height] = parts(bbox);
    [x, y, width * height, width / height]
}
