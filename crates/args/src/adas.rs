//! `lookout adas`.

use std::path::PathBuf;

use clap::Args;

/// Warn of what is in the way of vehicles, from the records of their forward cameras
///
/// Reads frames off Kafka and writes alerts and tracks there. Several that run with the same `group` share the cameras.
/// Advisory only: it is no safety function, and nothing may brake or steer by it. See docs/adas.md.
///
/// SIGINT or SIGTERM ends what is open, and then itself.
///
/// Exit code: 0 done, 1 the brokers failed, 2 wrong input (nothing was started).
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  lookout adas pipelines/adas.toml --brokers localhost:9092")]
pub struct AdasArgs {
    /// Which cameras look forward, and when they warn
    #[arg(value_name = "ADAS.toml")]
    pub file: PathBuf,

    /// Where Kafka is, `host:port,...`, instead of what the file says
    #[arg(long, value_name = "SERVERS")]
    pub brokers: Option<String>,
}
