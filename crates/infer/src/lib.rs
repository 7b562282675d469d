//! Device threads: they run the network on batches and emit the results with the frames' headers.

mod device;
mod discard;
mod event;
mod feeder;
mod pace;
mod threads;
mod turns;

pub use discard::discard;
pub use event::{DeviceEvent, InferredBatch};
pub use threads::{InferSettings, InferThreads, Inlets, Rebuild, RebuildError, start};
