//! The verbs that need neither GStreamer nor libtorch.

use std::path::PathBuf;

use clap::Args;

/// Find every mistake of a pipeline's or a monitor's file, without reaching for anything
///
/// Exit code: 0 the file is right, 2 it is not.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  lookout check pipelines/rtsp.toml")]
pub struct CheckArgs {
    /// The files
    #[arg(value_name = "PIPELINE.toml", required = true)]
    pub pipelines: Vec<PathBuf>,
}

/// Read records off Kafka as they come
///
/// Prints a line a frame: when it was captured and by which clock, its camera and number, how old it was
/// when it was published, and what was seen.
///
/// Exit code: 0 done, 1 the brokers failed, 2 wrong input.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  lookout tail --brokers localhost:9092\n  lookout tail --pipeline pipelines/rtsp.toml --camera north-gate --json"
)]
pub struct TailArgs {
    /// Where Kafka is, `host:port,...`
    #[arg(long, value_name = "SERVERS", required_unless_present = "pipeline")]
    pub brokers: Option<String>,

    /// Take brokers, topics and security from a pipeline file
    #[arg(long, value_name = "PIPELINE.toml", conflicts_with = "topic_prefix")]
    pub pipeline: Option<PathBuf>,

    /// What the topics' names begin with
    #[arg(long, default_value = "lookout", value_name = "PREFIX")]
    pub topic_prefix: String,

    /// Only this camera's records
    #[arg(long, value_name = "ID")]
    pub camera: Option<String>,

    /// Begin with the oldest record that Kafka still has
    #[arg(long)]
    pub from_beginning: bool,

    /// Stop at what is the end now
    #[arg(long)]
    pub until_end: bool,

    /// Stop after so many frames
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,

    /// Print the status records of cameras and workers too
    #[arg(long)]
    pub status: bool,

    /// Print what is told of objects that consumers follow too
    #[arg(long)]
    pub tracks: bool,

    /// Print what consumers alert of too
    #[arg(long)]
    pub alerts: bool,

    /// Print that a picture came too, without the picture
    #[arg(long)]
    pub snapshots: bool,

    /// Print each record as it is, a line of JSON; of a snapshot without its picture
    #[arg(long)]
    pub json: bool,

    /// Keep what is printed in a file too, message by message, for `lookout replay`
    ///
    /// Compressed where the name ends in `.zst` or `.gz`.
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
}

/// Write the messages of a file of `lookout tail --save` to Kafka again
///
/// Each has its key, headers and time, and they come at the distances that they had. A topic that does not exist is
/// made with as many partitions as it had. Of a file that is cut off all is written that is whole.
///
/// Exit code: 0 done, 1 the file or the brokers failed, 2 wrong input.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  lookout replay night.jsonl.zst --brokers localhost:9092 --topic-prefix trial\n  lookout replay night.jsonl.zst --brokers localhost:9092 --speed 10 --shift-time"
)]
pub struct ReplayArgs {
    /// What `lookout tail --save` has written
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Where Kafka is, `host:port,...`
    #[arg(long, value_name = "SERVERS", required_unless_present = "pipeline")]
    pub brokers: Option<String>,

    /// Take brokers, topics and security from a pipeline file
    #[arg(long, value_name = "PIPELINE.toml", conflicts_with = "topic_prefix")]
    pub pipeline: Option<PathBuf>,

    /// What the topics' names begin with
    #[arg(long, default_value = "lookout", value_name = "PREFIX")]
    pub topic_prefix: String,

    /// So many times as fast as it was, or `max`
    #[arg(long, default_value = "1", value_name = "TIMES")]
    pub speed: String,

    /// Date messages and records by now, so that a consumer that heeds their age can be tried
    #[arg(long)]
    pub shift_time: bool,
}
