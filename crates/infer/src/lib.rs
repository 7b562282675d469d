//! Batching and inference: the batcher forms batches across cameras, and device threads run the network on them and
//! emit the results with the frames' headers.

mod batch_scheduler;
mod batcher;
mod device;
mod discard;
mod event;
mod reload;
mod sequencer;
mod threads;
mod time_per_frame;

pub use batcher::{BatchPolicy, Batcher, DeviceState, Polled};
pub use discard::discard;
pub use event::{DeviceEvent, InferredBatch};
pub use reload::{ReloadError, ReloadModel};
pub use threads::{InferSettings, InferThreads, Inlets, start};
