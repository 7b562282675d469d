//! `lookout monitor`.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;

/// Serve a page of what all cameras see, keep its history, and tell alerts
///
/// Reads what workers publish to Kafka and needs nothing else of them. SIGINT or SIGTERM ends it; the next run goes
/// on where it stopped, and misses and doubles no alert. docs/monitor.md has the file's keys.
///
/// Exit code: 0 done, 1 it failed while running, 2 wrong input (nothing was started).
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  lookout monitor pipelines/monitor.toml\n  lookout monitor pipelines/monitor.toml --brokers 127.0.0.1:40000 --http 127.0.0.1:8080"
)]
pub struct MonitorArgs {
    /// The monitor's file
    #[arg(value_name = "MONITOR.toml")]
    pub file: PathBuf,

    /// Where to serve, instead of where the file says
    #[arg(long, value_name = "IP:PORT")]
    pub http: Option<SocketAddr>,

    /// Where Kafka is, `host:port,...`, instead of where the file says
    #[arg(long, value_name = "SERVERS")]
    pub brokers: Option<String>,
}
