//! A value with a rate of change, and the uncertainty of its prediction.

use lookout_track::Kalman;

/// The assumed standard deviation of a box's side, in pixels.
pub(crate) const SIDE_ERROR_PX: f64 = 2.0;

/// A value and its rate, estimated from measurements of the value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LinearEstimate(Kalman);

/// A value and its standard deviation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Measured {
    pub(crate) value: f64,
    pub(crate) std: f64,
}

impl LinearEstimate {
    /// Creates the estimate from a first measurement and the standard deviation of the unknown rate.
    pub(crate) fn new(first: Measured, rate_std: f64) -> Self {
        Self(Kalman::new(first.value, first.std, rate_std))
    }

    /// Updates the estimate with a measurement `dt` seconds later. `change` is the standard deviation of the
    /// rate's change within a second.
    pub(crate) fn step(&mut self, dt: f64, change: f64, seen: Measured) {
        self.0.predict(dt, change.powi(2));
        self.0.update(seen.value, seen.std);
    }

    pub(crate) fn value(&self) -> f64 {
        self.0.value
    }

    /// Returns the change per second.
    pub(crate) fn rate(&self) -> f64 {
        self.0.rate
    }

    /// Returns the predicted value in `dt` seconds at a constant rate.
    pub(crate) fn after(&self, dt: f64) -> Measured {
        let mut then = self.0;
        then.predict(dt, 0.0);
        Measured { value: then.value, std: then.spread(0.0).max(0.0).sqrt() }
    }
}

/// Returns the cumulative distribution function of the standard normal distribution (Abramowitz and Stegun,
/// Handbook of Mathematical Functions, 7.1.26).
pub(crate) fn normal(deviations: f64) -> f64 {
    let x = deviations.abs() / 2.0_f64.sqrt();
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let polynomial = t
        * (0.254_829_592
            + t * (-0.284_496_736 + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
    let tail = polynomial * (-x * x).exp() / 2.0;
    if deviations > 0.0 { 1.0 - tail } else { tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_distribution_matches_tables() {
        for (deviations, probability) in [(0.0, 0.5), (1.0, 0.841_345), (-1.96, 0.024_998), (3.0, 0.998_650)]
        {
            assert!((normal(deviations) - probability).abs() < 1e-5, "{deviations}");
        }
    }

    #[test]
    fn estimates_drift_and_predicts_with_growing_uncertainty() {
        let mut drift = LinearEstimate::new(Measured { value: 0.0, std: 0.5 }, 10.0);
        for i in 1..=30 {
            let jitter = if i % 2 == 0 { 0.5 } else { -0.5 };
            drift.step(0.1, 0.1, Measured { value: 3.0 + 0.2 * f64::from(i) + jitter, std: 0.5 });
        }
        let (now, later) = (drift.after(0.0), drift.after(2.0));
        assert!((now.value - 9.0).abs() < 0.5 && (later.value - 13.0).abs() < 1.0, "{drift:?}");
        assert!(later.std > 1.5 * now.std, "{now:?} {later:?}");
    }
}
