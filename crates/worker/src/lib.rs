//! The supervisor: wires the stages into a running worker, monitors them, and shuts them down in order.
//!
//! [`run`] takes a pipeline and its [`Parts`]. The program `lookout-worker` builds them from GStreamer, libtorch and
//! Kafka; tests build them from fakes that fail.

mod camera;
mod fleet;
mod fleet_seat;
mod health;
mod http;
mod input_choice;
mod load;
mod load_watch;
mod metrics;
mod name;
mod parts;
mod progress;
mod recorder;
mod reports;
mod roster;
mod snapshots;
mod startup;
mod status;
mod summary;
mod supervisor;
mod watched;
mod wiring;

pub use metrics::DecoderFallbacks;
pub use name::worker_id;
pub use parts::{FleetParts, FleetSeat, Inputs, LoadNetwork, MakeSource, Network, Parts, SinkWatch};
pub use progress::Progress;
pub use recorder::DeviceLost;
pub use startup::{Loading, NetworkFailed};
pub use summary::{CameraSummary, LatencyMs, Summary};
pub use supervisor::{StopRequest, run};
