//! Samplers: the order of images in an epoch, which depends only on the seed and the epoch's number.

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use rand_xoshiro::SplitMix64;

use crate::{Target, data::DataSet};

/// How the images of an epoch are drawn.
#[derive(Debug)]
pub(super) enum Sampler {
    /// Each image once, shuffled.
    Shuffled { count: usize },
    /// For each draw a class at random, all equally likely, then one of its images at random. Images without objects
    /// count as a class of their own.
    Balanced { count: usize, of_class: Vec<Vec<usize>> },
}

impl Sampler {
    pub(super) fn new(set: &DataSet, balanced: bool) -> Self {
        let count = set.len();
        if !balanced {
            return Self::Shuffled { count };
        }
        let mut of_class = vec![Vec::new(); set.classes().len() + 1];
        for (index, entry) in set.entries().iter().enumerate() {
            let mut classes: Vec<usize> = match &entry.target {
                Target::Class(parts) => parts.iter().filter_map(|(id, _)| set.classes().index(*id)).collect(),
                Target::Objects(objects) => {
                    let trained = objects.iter().filter(|object| !object.ignore);
                    trained.filter_map(|object| set.classes().index(object.class_id)).collect()
                }
            };
            classes.sort_unstable();
            classes.dedup();
            if classes.is_empty() {
                classes.push(set.classes().len());
            }
            for class in classes {
                of_class[class].push(index);
            }
        }
        of_class.retain(|images| !images.is_empty());
        Self::Balanced { count, of_class }
    }

    /// Returns the indices of the images of an epoch.
    pub(super) fn epoch_indices(&self, seed: u64, epoch: u64) -> Vec<usize> {
        let mut random = StdRng::seed_from_u64(mix(seed, epoch));
        match self {
            Self::Shuffled { count } => {
                let mut order: Vec<usize> = (0..*count).collect();
                order.shuffle(&mut random);
                order
            }
            Self::Balanced { count, of_class } => {
                let mut draw = || {
                    let images = &of_class[random.random_range(0..of_class.len())];
                    images[random.random_range(0..images.len())]
                };
                (0..*count).map(|_| draw()).collect()
            }
        }
    }
}

/// Mixes two numbers into a seed: output `number` of SplitMix64 with the state `seed` (Steele, Lea and Flood 2014).
pub(super) fn mix(seed: u64, number: u64) -> u64 {
    /// The increment of SplitMix64's state, 2^64 divided by the golden ratio.
    const INCREMENT: u64 = 0x9e37_79b9_7f4a_7c15;
    SplitMix64::seed_from_u64(seed.wrapping_add(number.wrapping_mul(INCREMENT))).next_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epoch_order_is_deterministic_with_each_image_once() {
        let sampler = Sampler::Shuffled { count: 50 };
        let first = sampler.epoch_indices(3, 0);
        assert_eq!(first, sampler.epoch_indices(3, 0));
        assert_ne!(first, sampler.epoch_indices(3, 1));
        assert_ne!(first, sampler.epoch_indices(4, 0));
        let mut sorted = first;
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..50));
    }

    #[test]
    fn balanced_order_draws_classes_equally() {
        let sampler =
            Sampler::Balanced { count: 1000, of_class: vec![(0..990).collect(), (990..1000).collect()] };
        let rare = sampler.epoch_indices(1, 0).into_iter().filter(|index| *index >= 990).count();
        assert!((430..570).contains(&rare), "{rare}");
    }
}
