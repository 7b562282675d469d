//! `lookout fleet`.

use clap::Args;

use crate::ClusterArgs;

/// Show the workers and their cameras: owner, status, frame rate and record age
///
/// Reads the status topic and shows the last status record of each worker and camera, unless it is older than
/// `--max-age` seconds. `age` is the age of the last frame record when it was published, `lag` the number of records
/// that the broker has not acknowledged, `seen` the time since the worker's last status record.
///
/// Exit code: 0 success, 1 the brokers failed, 2 wrong input.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  lookout fleet --brokers kafka:9092")]
pub struct FleetArgs {
    /// The cluster of the fleet.
    #[command(flatten)]
    pub cluster: ClusterArgs,

    /// Print the state once and exit
    #[arg(long)]
    pub once: bool,

    /// Print one line of JSON at each refresh
    #[arg(long)]
    pub json: bool,

    /// Maximum age of a status record; must be above the workers' `status_interval_ms`
    #[arg(long, default_value_t = 15, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub max_age: u64,
}
