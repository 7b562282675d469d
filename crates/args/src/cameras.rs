//! `lookout cameras`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// The Kafka cluster and its topics.
#[derive(Debug, Clone, Args)]
pub struct ClusterArgs {
    /// Kafka brokers, `host:port,...`; this or `--pipeline` is required
    #[arg(long, value_name = "SERVERS", global = true)]
    pub brokers: Option<String>,

    /// Read brokers, topic prefix and security settings from this pipeline file
    #[arg(long, value_name = "PIPELINE.toml", conflicts_with = "topic_prefix", global = true)]
    pub pipeline: Option<PathBuf>,

    /// Prefix of the topic names
    #[arg(long, default_value = "lookout", value_name = "PREFIX", global = true)]
    pub topic_prefix: String,
}

/// List and edit the registry, the cameras that a fleet of workers runs
///
/// The registry is a Kafka topic. Workers whose pipeline file sets `cameras = "registry"` share its cameras and
/// apply every change. Concurrent edits cannot overwrite each other.
///
/// Exit code: 0 success, 1 the command failed, 2 wrong input (nothing was changed).
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  lookout cameras add north-gate 'rtsp://viewer:${secret:north-gate}@10.0.0.7/stream1' --fps 10 --brokers kafka:9092\n  lookout cameras list --brokers kafka:9092 --json"
)]
pub struct CamerasArgs {
    /// The cluster that holds the registry.
    #[command(flatten)]
    pub cluster: ClusterArgs,

    /// Number of partitions if the registry's topic has to be created: the maximum number of workers that can
    /// share it. It cannot be changed later
    #[arg(long, value_name = "N", global = true, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub partitions: Option<u16>,

    /// What to do with the registry.
    #[command(subcommand)]
    pub verb: CamerasVerb,
}

/// A command for the registry.
#[derive(Debug, Clone, Subcommand)]
#[expect(missing_docs, reason = "comments would change the help texts")]
pub enum CamerasVerb {
    /// List the cameras
    List {
        /// Print each camera's record as one line of JSON
        #[arg(long)]
        json: bool,
    },
    Add(AddArgs),
    /// Remove cameras
    Remove {
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,

        /// Change a camera only if it still has this version, else fail
        #[arg(long, value_name = "VERSION")]
        expect_version: Option<u64>,
    },
    /// Enable cameras that were disabled
    Enable {
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,

        /// Change a camera only if it still has this version, else fail
        #[arg(long, value_name = "VERSION")]
        expect_version: Option<u64>,
    },
    /// Disable cameras: they stay in the registry, but no worker runs them
    Disable {
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,

        /// Change a camera only if it still has this version, else fail
        #[arg(long, value_name = "VERSION")]
        expect_version: Option<u64>,
    },
    /// Add or change all cameras in a file, in one transaction
    ///
    /// The file is a pipeline file, another TOML file with `[[camera]]` tables, or lines of JSON as `list
    /// --json` prints them. `${NAME}` is stored unexpanded. Cameras that already match the file are not
    /// changed.
    Import {
        #[arg(value_name = "FILE")]
        file: PathBuf,

        /// Remove all cameras that are not in the file
        #[arg(long)]
        prune: bool,
    },
}

/// Add a camera, or change one with `--replace` or `--expect-version`
///
/// A password has to be a reference that each worker resolves itself: `${secret:NAME}` is read from the folder
/// or file that `secrets` in the worker's `[fleet]` names, and `${CAMERA_NAME}` from its environment. In a shell,
/// put the address in single quotes.
#[derive(Debug, Clone, Args)]
pub struct AddArgs {
    /// Camera id, 1 to 64 characters of a-z A-Z 0-9 . _ -; the Kafka key of its records
    pub id: String,

    /// Address: rtsp://, rtsps://, file://, v4l2:// or test://, as in a pipeline file
    pub uri: String,

    /// Maximum number of frames per second to process
    #[arg(long)]
    pub fps: Option<f64>,

    /// 0 to 100; under load, frames of cameras with low priority are skipped first
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub priority: Option<u8>,

    /// Publish detections of this class only; can be repeated
    #[arg(long = "class", value_name = "LABEL")]
    pub classes: Vec<String>,

    /// Publish only detections in this polygon, in fractions of the frame's width and height, such as
    /// `0,0 0.5,0 0.5,1`; can be repeated
    #[arg(long = "region", value_name = "CORNERS")]
    pub regions: Vec<String>,

    /// A label for people, not interpreted by Lookout; can be repeated
    #[arg(long = "label", value_name = "KEY=TEXT")]
    pub labels: Vec<String>,

    /// Any other key of `[[camera]]`, such as `transport=udp`; can be repeated
    #[arg(long = "option", value_name = "KEY=VALUE")]
    pub options: Vec<String>,

    /// Change the camera only if it still has this version; 0 means that it must not exist
    #[arg(long, value_name = "VERSION")]
    pub expect_version: Option<u64>,

    /// Change the camera regardless of its version
    #[arg(long, conflicts_with = "expect_version")]
    pub replace: bool,
}
