//! A number and its rate of change, estimated from measurements of the number: a Kalman filter (Kalman, A New
//! Approach to Linear Filtering and Prediction Problems, 1960) with white noise in the rate's change.

use serde::{Deserialize, Serialize};

/// The estimate, and what is known of its error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Kalman {
    pub value: f64,
    /// A second.
    pub rate: f64,
    /// Variances of value and rate, and their covariance.
    value_var: f64,
    covar: f64,
    rate_var: f64,
}

impl Kalman {
    /// A first measurement with its standard deviation, and how large a rate may be.
    pub fn new(value: f64, value_std: f64, rate_std: f64) -> Self {
        Self { value, rate: 0.0, value_var: value_std.powi(2), covar: 0.0, rate_var: rate_std.powi(2) }
    }

    /// The same, where the rate is known to be about `rate`.
    pub(crate) fn with_rate(self, rate: f64) -> Self {
        Self { rate, ..self }
    }

    /// Goes on by `dt` seconds; `noise` is the density of the noise in the rate, in rates squared a second.
    pub fn predict(&mut self, dt: f64, noise: f64) {
        self.value += self.rate * dt;
        self.value_var += dt * (2.0 * self.covar + dt * self.rate_var) + noise * dt.powi(3) / 3.0;
        self.covar += dt * self.rate_var + noise * dt.powi(2) / 2.0;
        self.rate_var += noise * dt;
    }

    /// Takes a measurement with its standard deviation.
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

    /// How many standard deviations a measurement is off.
    pub(crate) fn surprise(&self, value: f64, std: f64) -> f64 {
        (value - self.value) / self.spread(std).sqrt()
    }

    /// The variance of what a measurement is off, if its own standard deviation is `std`.
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
    fn a_steady_rate_is_found_and_its_error_told() {
        let mut filter = Kalman::new(0.0, 1.0, 50.0);
        for i in 1..=40 {
            filter.predict(0.1, 0.01);
            let jitter = if i % 2 == 0 { 1.0 } else { -1.0 };
            filter.update(f64::from(i) * 0.1 * 7.0 + jitter, 1.0);
        }
        assert!((filter.rate - 7.0).abs() < 0.5, "{filter:?}");
        assert!((0.1..1.0).contains(&filter.rate_std()), "{filter:?}");
        assert!(filter.surprise(28.0, 1.0).abs() < 1.0 && filter.surprise(38.0, 1.0) > 5.0);
    }

    #[test]
    fn what_is_not_measured_grows_uncertain() {
        let mut filter = Kalman::new(0.0, 1.0, 1.0);
        let before = filter.surprise(5.0, 1.0);
        filter.predict(2.0, 0.1);
        assert!(filter.surprise(5.0, 1.0) < before / 1.5);
    }
}
