//! From pictures with their truth to a network that finds it, and how well it does.
//!
//! (In the making.)

mod sample;

pub use sample::{ObjectTarget, Picture, Sample, Target};
