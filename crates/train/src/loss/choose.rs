//! Chance, as an argument.

use rand::{SeedableRng, rngs::StdRng, seq::index};

/// Says which of many are taken.
pub trait Choose {
    /// `most` of the numbers below `of`, all different, in any order; all of them where there are fewer.
    fn choose(&mut self, most: usize, of: usize) -> Vec<i64>;
}

/// Chance from a seed.
#[derive(Debug)]
pub struct Dice(StdRng);

impl Dice {
    /// The chance of one step of a run, so that none has to be kept between two.
    pub fn new(seed: u64, step: u64) -> Self {
        // SplitMix64's step keeps the seeds of neighbors apart.
        Self(StdRng::seed_from_u64(seed ^ step.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }
}

impl Choose for Dice {
    fn choose(&mut self, most: usize, of: usize) -> Vec<i64> {
        index::sample(&mut self.0, of, most.min(of)).into_iter().map(|i| i as i64).collect()
    }
}
