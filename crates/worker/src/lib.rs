//! The supervisor: wires the stages into a running worker, monitors them, and shuts them down in order.
//!
//! [`run`] takes a pipeline and its [`Components`]. The program `lookout-worker` builds them from GStreamer, libtorch and
//! Kafka; tests build them from fakes that fail.

mod camera;
mod camera_thread;
mod components;
mod fleet;
mod health;
mod holdings;
mod http;
mod input_choice;
mod load;
mod load_watch;
mod loading;
mod metrics;
mod progress;
mod recorder;
mod report_channel;
mod roster;
mod snapshots;
mod startup;
mod status;
mod summary;
mod supervisor;
mod wiring;
mod worker_id;

pub use components::{
    Components, FleetComponents, GroupMembership, Inputs, LoadNetwork, MakeSource, MonitoredSink, Network,
};
pub use loading::Loading;
pub use metrics::DecoderFallbacks;
pub use progress::Progress;
pub use recorder::DeviceLost;
pub use startup::NetworkFailed;
pub use summary::{CameraSummary, LatencyMs, Summary};
pub use supervisor::{StopRequest, run};
pub use worker_id::worker_id;
