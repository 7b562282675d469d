//! A Kalman filter for a value and its rate of change, updated with measurements of the value (Kalman, A New
//! Approach to Linear Filtering and Prediction Problems, 1960). The process noise is white noise in the
//! change of the rate.

use serde::{Deserialize, Serialize};

/// An estimate with its error covariance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Kalman {
    /// The estimated value.
    pub value: f64,
    /// Change of the value per second.
    pub rate: f64,
    /// Variance of the value, covariance of value and rate, and variance of the rate.
    value_var: f64,
    covar: f64,
    rate_var: f64,
}

impl Kalman {
    /// Creates a filter from a first measurement with its standard deviation, and the standard deviation of
    /// the unknown rate around 0.
    pub fn new(value: f64, value_std: f64, rate_std: f64) -> Self {
        Self { value, rate: 0.0, value_var: value_std.powi(2), covar: 0.0, rate_var: rate_std.powi(2) }
    }

    /// Predicts the state `dt` seconds ahead. `noise` is the spectral density of the process noise, in
    /// squared rates per second.
    pub fn predict(&mut self, dt: f64, noise: f64) {
        self.value += self.rate * dt;
        self.value_var += dt * (2.0 * self.covar + dt * self.rate_var) + noise * dt.powi(3) / 3.0;
        self.covar += dt * self.rate_var + noise * dt.powi(2) / 2.0;
        self.rate_var += noise * dt;
    }

    /// Updates the state with a measurement that has the standard deviation `std`.
    pub fn update(&mut self, value: f64, std: f64) {
        let spread = self.value_var + std.powi(2);
        let (gain, rate_gain) = (self.value_var / spread, self.covar / spread);
        let surprise = value - self.value;
        self.value += gain * surprise;
        self.rate += rate_gain * surprise;
        self.rate_var -= rate_gain * self.covar;
        self.covar *= 1.0 - gain;
        self.value_var *= 1.0 - gain;
    }

    /// Returns the innovation variance of a measurement that has the standard deviation `std`.
    pub fn spread(&self, std: f64) -> f64 {
        self.value_var + std.powi(2)
    }

    pub(crate) fn rate_std(&self) -> f64 {
        self.rate_var.max(0.0).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_a_steady_rate_and_its_error() {
        let mut filter = Kalman::new(0.0, 1.0, 50.0);
        for i in 1..=40 {
            filter.predict(0.1, 0.01);
            let jitter = if i % 2 == 0 { 1.0 } else { -1.0 };
            filter.update(f64::from(i) * 0.1 * 7.0 + jitter, 1.0);
        }
        assert!((filter.rate - 7.0).abs() < 0.5, "{filter:?}");
        assert!((0.1..1.0).contains(&filter.rate_std()), "{filter:?}");
        assert!((filter.value - 28.0).abs() < filter.spread(1.0).sqrt(), "{filter:?}");
    }

    #[test]
    fn uncertainty_grows_without_measurements() {
        let mut filter = Kalman::new(0.0, 1.0, 1.0);
        let before = filter.spread(1.0);
        filter.predict(2.0, 0.1);
        assert!(filter.spread(1.0) > 2.0 * before);
    }
}
