//! `lookout monitor`.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;

/// Serve a web page that shows all cameras, store their history, and publish alerts
///
/// Needs nothing from the workers except their records in Kafka. Stop it with SIGINT or SIGTERM; the next run resumes
/// where it stopped, without missing or duplicate alerts. See docs/monitor.md for the keys of the file.
///
/// Exit code: 0 success, 1 it failed while running, 2 wrong input (nothing was started).
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  lookout monitor pipelines/monitor.toml\n  lookout monitor pipelines/monitor.toml --brokers 127.0.0.1:40000 --http 127.0.0.1:8080"
)]
pub struct MonitorArgs {
    /// The monitor's configuration file
    #[arg(value_name = "MONITOR.toml")]
    pub file: PathBuf,

    /// Listen address; overrides `http` in the file
    #[arg(long, value_name = "IP:PORT")]
    pub http: Option<SocketAddr>,

    /// Kafka brokers, `host:port,...`; overrides `brokers` in the file
    #[arg(long, value_name = "SERVERS")]
    pub brokers: Option<String>,
}
