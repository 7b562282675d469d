//! The verbs of `lookout-worker`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Run a pipeline: decode its cameras, look at the frames, publish a record for each to Kafka
///
/// Ends by itself once every source is a file that has ended. SIGINT or SIGTERM brings the frames on
/// their way to Kafka and ends; a second one ends at once.
///
/// Exit code: 0 done, 1 a camera or the delivery failed, 2 wrong input (nothing was started).
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  lookout run pipelines/file.toml --summary json")]
pub struct RunArgs {
    /// The pipeline file
    #[arg(value_name = "PIPELINE.toml")]
    pub pipeline: PathBuf,

    /// What to print on standard output at the end
    #[arg(long, value_enum, default_value_t)]
    pub summary: SummaryFormat,
}

/// What `lookout run` prints on standard output at the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum SummaryFormat {
    /// A table
    #[default]
    Text,
    /// One line of JSON
    Json,
    None,
}

/// Reach everything that a pipeline needs, and say what is wrong
///
/// Looks at the device, the weights, the brokers and each camera. Without a file it looks at this
/// machine: the device, the decoders and the kernels.
///
/// Exit code: 0 all is well, 1 something is not, 2 the pipeline file is wrong.
#[derive(Debug, Clone, Args)]
pub struct DoctorArgs {
    /// The pipeline file
    #[arg(value_name = "PIPELINE.toml")]
    pub pipeline: Option<PathBuf>,

    /// Longest time to wait for a camera or a broker
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    pub timeout: u64,
}
