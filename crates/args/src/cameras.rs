//! `lookout cameras`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Which Kafka, and which topics of it.
#[derive(Debug, Clone, Args)]
pub struct ClusterArgs {
    /// Where Kafka is, `host:port,...`; this or `--pipeline` is needed
    #[arg(long, value_name = "SERVERS", global = true)]
    pub brokers: Option<String>,

    /// Take brokers, topics and security from a pipeline file
    #[arg(long, value_name = "PIPELINE.toml", conflicts_with = "topic_prefix", global = true)]
    pub pipeline: Option<PathBuf>,

    /// What the topics' names begin with
    #[arg(long, default_value = "lookout", value_name = "PREFIX", global = true)]
    pub topic_prefix: String,
}

/// Say which cameras a fleet of workers watches
///
/// The cameras are kept on Kafka, and workers whose pipeline says `cameras = "registry"` share them and
/// follow every change. Two who edit at once cannot overwrite each other.
///
/// Exit code: 0 done, 1 it could not be done, 2 wrong input (nothing was changed).
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  lookout cameras add north-gate 'rtsp://viewer:${secret:north-gate}@10.0.0.7/stream1' --fps 10 --brokers kafka:9092\n  lookout cameras list --brokers kafka:9092 --json"
)]
pub struct CamerasArgs {
    #[command(flatten)]
    pub cluster: ClusterArgs,

    /// Partitions of the registry where it has to be created: so many workers can share it. It cannot be
    /// changed later
    #[arg(long, value_name = "N", global = true, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub partitions: Option<u16>,

    #[command(subcommand)]
    pub verb: CamerasVerb,
}

/// What to do with the registry.
#[derive(Debug, Clone, Subcommand)]
pub enum CamerasVerb {
    /// List the cameras
    List {
        /// Print each camera's record as it is, a line of JSON
        #[arg(long)]
        json: bool,
    },
    Add(AddArgs),
    /// Remove cameras
    Remove {
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,

        /// Only if this is still the camera's version
        #[arg(long, value_name = "VERSION")]
        expect_version: Option<u64>,
    },
    /// Have cameras watched again that were disabled
    Enable {
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,

        /// Only if this is still the camera's version
        #[arg(long, value_name = "VERSION")]
        expect_version: Option<u64>,
    },
    /// Keep cameras in the registry without having them watched
    Disable {
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,

        /// Only if this is still the camera's version
        #[arg(long, value_name = "VERSION")]
        expect_version: Option<u64>,
    },
    /// Add or change all cameras of a file, at once or not at all
    ///
    /// The file is a pipeline file or another TOML file with `[[camera]]` tables, or lines of JSON as `list
    /// --json` prints them. `${NAME}` is taken as it stands. Cameras that are as the file says are left
    /// alone.
    Import {
        #[arg(value_name = "FILE")]
        file: PathBuf,

        /// Remove the cameras that the file does not have
        #[arg(long)]
        prune: bool,
    },
}

/// Add a camera, or change one
///
/// A password has to be a reference, which each worker looks up for itself: `${secret:NAME}`, in the folder
/// or file that `secrets` in its [fleet] names, or `${CAMERA_NAME}`, in its environment. In a shell, put the
/// address in single quotes.
#[derive(Debug, Clone, Args)]
pub struct AddArgs {
    /// Its name, 1 to 64 of a-z A-Z 0-9 . _ -; the key of its records
    pub id: String,

    /// rtsp://, rtsps://, file://, v4l2:// or test://, as in a pipeline file
    pub uri: String,

    /// Frames a second at most
    #[arg(long)]
    pub fps: Option<f64>,

    /// 0 to 100; cameras of lower priority are the first to be looked at less often
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub priority: Option<u8>,

    /// A class of which detections are told; may be given several times
    #[arg(long = "class", value_name = "LABEL")]
    pub classes: Vec<String>,

    /// A polygon in parts of the picture's width and height, such as `0,0 0.5,0 0.5,1`; may be given several
    /// times
    #[arg(long = "region", value_name = "CORNERS")]
    pub regions: Vec<String>,

    /// Something that people want to note; may be given several times
    #[arg(long = "label", value_name = "KEY=TEXT")]
    pub labels: Vec<String>,

    /// Any other key of `[[camera]]`, such as `transport=udp`; may be given several times
    #[arg(long = "option", value_name = "KEY=VALUE")]
    pub options: Vec<String>,

    /// Change the camera, if this is still its version; 0 is that of one that is not there
    #[arg(long, value_name = "VERSION")]
    pub expect_version: Option<u64>,

    /// Change the camera, whatever its version
    #[arg(long, conflicts_with = "expect_version")]
    pub replace: bool,
}
