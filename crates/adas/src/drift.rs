//! A number that drifts, estimated from measurements of it: a Kalman filter (Kalman, A New Approach to Linear
//! Filtering and Prediction Problems, 1960) with white noise in the rate's change.

/// A value and its rate, and what is known of their errors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Drift {
    pub(crate) value: f64,
    /// A second.
    pub(crate) rate: f64,
    value_var: f64,
    covar: f64,
    rate_var: f64,
}

/// A value and its standard deviation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Measured {
    pub(crate) value: f64,
    pub(crate) std: f64,
}

impl Drift {
    /// A first measurement, and how large a rate may be.
    pub(crate) fn new(first: Measured, rate_std: f64) -> Self {
        let (value_var, rate_var) = (first.std.powi(2), rate_std.powi(2));
        Self { value: first.value, rate: 0.0, value_var, covar: 0.0, rate_var }
    }

    /// Takes a measurement `dt` seconds later; within a second the rate changes by `change`, as a standard
    /// deviation.
    pub(crate) fn step(&mut self, dt: f64, change: f64, seen: Measured) {
        let noise = change.powi(2);
        self.value += self.rate * dt;
        self.value_var += dt * (2.0 * self.covar + dt * self.rate_var) + noise * dt.powi(3) / 3.0;
        self.covar += dt * self.rate_var + noise * dt.powi(2) / 2.0;
        self.rate_var += noise * dt;
        let spread = self.value_var + seen.std.powi(2);
        let (gain, rate_gain) = (self.value_var / spread, self.covar / spread);
        let surprise = seen.value - self.value;
        self.value += gain * surprise;
        self.rate += rate_gain * surprise;
        self.rate_var -= rate_gain * self.covar;
        self.covar *= 1.0 - gain;
        self.value_var *= 1.0 - gain;
    }

    /// Where it will be in `dt` seconds if its rate stays.
    pub(crate) fn after(&self, dt: f64) -> Measured {
        let var = self.value_var + dt * (2.0 * self.covar + dt * self.rate_var);
        Measured { value: self.value + self.rate * dt, std: var.max(0.0).sqrt() }
    }
}

/// How probable it is that a normal number is below its mean by no more than `deviations` standard deviations, or
/// above it: the normal distribution (Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26).
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
    fn the_normal_distribution_is_that_of_the_tables() {
        for (deviations, probability) in [(0.0, 0.5), (1.0, 0.841_345), (-1.96, 0.024_998), (3.0, 0.998_650)]
        {
            assert!((normal(deviations) - probability).abs() < 1e-5, "{deviations}");
        }
    }

    #[test]
    fn a_drift_is_found_and_what_is_said_of_the_future_grows_uncertain() {
        let mut drift = Drift::new(Measured { value: 0.0, std: 0.5 }, 10.0);
        for i in 1..=30 {
            let jitter = if i % 2 == 0 { 0.5 } else { -0.5 };
            drift.step(0.1, 0.1, Measured { value: 3.0 + 0.2 * f64::from(i) + jitter, std: 0.5 });
        }
        let (now, later) = (drift.after(0.0), drift.after(2.0));
        assert!((now.value - 9.0).abs() < 0.5 && (later.value - 13.0).abs() < 1.0, "{drift:?}");
        assert!(later.std > 1.5 * now.std, "{now:?} {later:?}");
    }
}
