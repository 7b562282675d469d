//! The subcommands of the command line and their options.
//!
//! `lookout` has every subcommand. For those that need GStreamer or libtorch, it executes the program that is
//! linked with these libraries. Both programs parse the arguments with the types of this crate, so their
//! options are the same.
//!
//! The comments of arguments and subcommands are their help texts.
#![warn(missing_docs)]

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
pub use eval::{EvalArgs, EvalFarmArgs, EvalTracksArgs};
pub use fleet::FleetArgs;
pub use lab::{BenchArgs, CheckDeviceArgs, InferArgs, NetworkArgs, TensorArgs};
pub use monitor::MonitorArgs;
pub use plan::PlanArgs;
pub use reading::{CheckArgs, ReplayArgs, TailArgs};
pub use sim::{SimArgs, SimCameraArgs, SimDatasetArgs, SimServeArgs, SimVerb, SimVideoArgs};
pub use train::{CurvesArgs, TrainArgs};
pub use weights::{WeightsArgs, WeightsVerb};
pub use worker::{DoctorArgs, RunArgs, SummaryFormat};
