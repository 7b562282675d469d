//! A counter-based random number generator: each number is a function of a seed and of its purpose.

use rand_xoshiro::{
    SplitMix64,
    rand_core::{Rng as _, SeedableRng as _},
};

/// Random numbers that depend on the seed and on the names of their purposes, and on nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0x6c6f_6f6b_6f75_7400))
    }

    /// Returns a derived generator for the `n`th item of kind `what`.
    pub(crate) fn of(self, what: &str, n: i64) -> Self {
        let named = what.bytes().fold(self.0, |state, byte| mix(state ^ u64::from(byte)));
        Self(mix(named ^ n as u64))
    }

    /// Returns a uniform number in [0, 1).
    pub(crate) fn unit(self, what: &str) -> f64 {
        (self.of(what, 0).0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Returns a uniform number in [`low`, `high`).
    pub(crate) fn between(self, what: &str, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit(what)
    }

    pub(crate) fn is(self, what: &str, probability: f64) -> bool {
        self.unit(what) < probability
    }

    pub(crate) fn one_of<T: Copy>(self, what: &str, choices: &[T]) -> Option<T> {
        choices.get((self.unit(what) * choices.len() as f64) as usize).copied()
    }

    /// Returns a number that is cheap to compute, for use per pixel.
    pub(crate) fn noise(self, n: u64) -> u64 {
        mix(self.0 ^ n)
    }
}

/// Maps similar numbers to very different ones.
fn mix(state: u64) -> u64 {
    SplitMix64::seed_from_u64(state).next_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_values_depend_only_on_seed_and_name() {
        let chance = Random::new(7);
        assert_eq!(chance.unit("a"), Random::new(7).unit("a"));
        assert_ne!(chance.unit("a"), chance.unit("b"));
        assert_ne!(chance.of("a", 1).unit("x"), chance.of("a", 2).unit("x"));
        let mean: f64 = (0..10_000).map(|n| chance.of("n", n).unit("x")).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
    }
}
