//! Random sampling, passed as an argument so that tests can replace it.

use rand::{SeedableRng, rngs::StdRng, seq::index};

/// Samples indices without replacement.
pub trait SubsetSampler {
    /// Returns `max` different numbers below `of`, in any order, or all of them if there are fewer.
    fn sample(&mut self, max: usize, of: usize) -> Vec<i64>;
}

/// A sampler with a seeded random number generator.
#[derive(Debug)]
pub struct RandomSubsetSampler(StdRng);

impl RandomSubsetSampler {
    /// Creates the sampler of one step of a run. It depends on the seed and the step only, so no state has to be saved.
    pub fn new(seed: u64, step: u64) -> Self {
        // The odd constant of SplitMix64 makes the seeds of neighboring steps differ in many bits.
        Self(StdRng::seed_from_u64(seed ^ step.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }
}

impl SubsetSampler for RandomSubsetSampler {
    fn sample(&mut self, max: usize, of: usize) -> Vec<i64> {
        index::sample(&mut self.0, of, max.min(of)).into_iter().map(|i| i as i64).collect()
    }
}
