//! From pictures with their truth to a network that finds it, and how well it does.
//!
//! (In the making.)

pub mod augment;
pub mod data;
mod sample;

pub use sample::{ObjectTarget, Picture, Sample, Target};
