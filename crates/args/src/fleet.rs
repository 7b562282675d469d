//! `lookout fleet`.

use clap::Args;

use crate::ClusterArgs;

/// Show the workers and their cameras: who watches what, how fast, and how fresh it is
///
/// Read off the status topic, so it shows what workers said last; one that has said nothing for `--window`
/// seconds is not shown. `age` is how old the last record was when it was published, `lag` the records that
/// the broker has not acknowledged.
///
/// Exit code: 0 done, 1 the brokers failed, 2 wrong input.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  lookout fleet --brokers kafka:9092")]
pub struct FleetArgs {
    #[command(flatten)]
    pub cluster: ClusterArgs,

    /// Show it once and end
    #[arg(long)]
    pub once: bool,

    /// Print a line of JSON each time
    #[arg(long)]
    pub json: bool,

    /// What was said so long ago still counts; more than the workers' `status_interval_ms`
    #[arg(long, default_value_t = 15, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub window: u64,
}
