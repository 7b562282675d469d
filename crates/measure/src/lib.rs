//! How good what was seen is, by what is true. Pure: it is told picture by picture, and gives numbers.

mod tracking;

pub use tracking::{Tracked, TrackingEvaluation, TrackingSummary};
