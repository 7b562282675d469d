//! The subcommands of `lookout-worker`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Run a pipeline: decode the cameras, run inference on the frames, publish one record per frame to Kafka
///
/// Exits by itself if all sources are files and all of them are read. On SIGINT or SIGTERM, it drains: it sends the
/// frames that are in the pipeline to Kafka and exits. On a second signal, it exits immediately.
///
/// Exit code: 0 success, 1 a camera or the delivery failed, 2 wrong input (nothing was started).
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  lookout run pipelines/file.toml --summary json")]
pub struct RunArgs {
    /// The pipeline file
    #[arg(value_name = "PIPELINE.toml")]
    pub pipeline: PathBuf,

    /// Format of the summary that is printed on standard output at the end
    #[arg(long, value_enum, default_value_t)]
    pub summary: SummaryFormat,
}

/// The format of the summary that `lookout run` prints on standard output at the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum SummaryFormat {
    /// A table
    #[default]
    Text,
    /// One line of JSON
    Json,
    /// Nothing
    None,
}

/// Test everything that a pipeline needs, and report problems
///
/// Tests the device, the weights, the connection to the brokers and each camera. Without a file, it checks this
/// machine: the device, the decoders and the kernels.
///
/// Exit code: 0 no problems, 1 at least one problem, 2 the pipeline file is wrong.
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// The pipeline file
    #[arg(value_name = "PIPELINE.toml")]
    pub pipeline: Option<PathBuf>,

    /// Maximum time to wait for a camera or a broker
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    pub timeout: u64,
}
