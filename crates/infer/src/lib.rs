//! Device threads: a batch goes in, results rejoined with their headers come out.

mod device;
mod discard;
mod event;
mod feeder;
mod pace;
mod threads;
mod turns;

pub use discard::discard;
pub use event::{DeviceEvent, InferredBatch};
pub use threads::{InferSettings, InferThreads, Inlets, Rebuild, start};
