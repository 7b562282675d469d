//! Forms batches of frames from all cameras. The crate is pure: time is an argument, and no function waits.

mod batcher;
mod lane;

pub use batcher::{BatchPolicy, Batcher, Demand, Polled};
