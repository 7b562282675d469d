//! What can be typed: the verbs and their options.
//!
//! `lookout` knows every verb, and hands those that need GStreamer or libtorch to the program that is
//! linked with them. Both read the verb by the same type, so that neither can know an option that the
//! other does not.

mod adas;
mod cameras;
mod eval;
mod fleet;
mod lab;
pub mod logging;
mod monitor;
mod plan;
pub mod process;
mod reading;
mod sim;
mod train;
mod weights;
mod worker;

pub use adas::AdasArgs;
pub use cameras::{AddArgs, CamerasArgs, CamerasVerb, ClusterArgs};
pub use eval::{EvalArgs, EvalFarmArgs};
pub use fleet::FleetArgs;
pub use lab::{BenchArgs, CheckDeviceArgs, InferArgs, NetworkArgs, TensorArgs};
pub use monitor::MonitorArgs;
pub use plan::PlanArgs;
pub use reading::{CheckArgs, ReplayArgs, TailArgs};
pub use sim::{SimArgs, SimCameraArgs, SimDatasetArgs, SimServeArgs, SimVerb, SimVideoArgs};
pub use train::{CurvesArgs, TrainArgs};
pub use weights::{WeightsArgs, WeightsVerb};
pub use worker::{DoctorArgs, RunArgs, SummaryFormat};
