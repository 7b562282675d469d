//! Batches across cameras. Pure: the time is an argument, and nothing here waits.

mod batcher;
mod lane;

pub use batcher::{BatchPolicy, Batcher, Demand, Polled};
