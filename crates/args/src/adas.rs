//! `lookout adas`.

use std::path::PathBuf;

use clap::Args;

/// Publish forward collision warnings for vehicle cameras, from their frame records
///
/// Reads frame records from Kafka and writes alerts and tracks to Kafka. Processes with the same `group` share the
/// cameras. Advisory only: this is not a safety function, and its output must not control brakes or steering. See
/// docs/adas.md.
///
/// On SIGINT or SIGTERM, it clears its open alerts, ends its tracks and exits.
///
/// Exit code: 0 success, 1 the brokers failed, 2 wrong input (nothing was started).
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  lookout adas pipelines/adas.toml --brokers localhost:9092")]
pub struct AdasArgs {
    /// The file with the vehicle cameras and their warning thresholds
    #[arg(value_name = "ADAS.toml")]
    pub file: PathBuf,

    /// Kafka brokers, `host:port,...`; overrides `brokers` in the file
    #[arg(long, value_name = "SERVERS")]
    pub brokers: Option<String>,
}
