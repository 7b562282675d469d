//! The subcommands that need neither GStreamer nor libtorch: `check`, `tail` and `replay`.

use std::path::PathBuf;

use clap::Args;

/// Report all errors in pipeline, monitor or adas files, without connecting to anything
///
/// Exit code: 0 all files are valid, 2 a file has errors.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  lookout check pipelines/rtsp.toml")]
pub struct CheckArgs {
    /// Configuration files
    #[arg(value_name = "PIPELINE.toml", required = true)]
    pub pipelines: Vec<PathBuf>,
}

/// Print records from Kafka as they arrive
///
/// Prints one line per frame: capture time, camera, sequence number, clock, age when it was published, and the
/// detections or classes.
///
/// Exit code: 0 success, 1 the brokers failed, 2 wrong input.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  lookout tail --brokers localhost:9092\n  lookout tail --pipeline pipelines/rtsp.toml --camera north-gate --json"
)]
pub struct TailArgs {
    /// Kafka brokers, `host:port,...`; this or `--pipeline` is required
    #[arg(long, value_name = "SERVERS", required_unless_present = "pipeline")]
    pub brokers: Option<String>,

    /// Read brokers, topic prefix and security settings from this pipeline file
    #[arg(long, value_name = "PIPELINE.toml", conflicts_with = "topic_prefix")]
    pub pipeline: Option<PathBuf>,

    /// Prefix of the topic names
    #[arg(long, default_value = "lookout", value_name = "PREFIX")]
    pub topic_prefix: String,

    /// Print only records of this camera
    #[arg(long, value_name = "ID")]
    pub camera: Option<String>,

    /// Start with the oldest records in Kafka
    #[arg(long)]
    pub from_beginning: bool,

    /// Print the records from the oldest to the current end of the topics, then exit
    #[arg(long)]
    pub until_end: bool,

    /// Exit after this number of frames
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,

    /// Also print status records of cameras and workers
    #[arg(long)]
    pub status: bool,

    /// Also print track records of the consumers
    #[arg(long)]
    pub tracks: bool,

    /// Also print alert records of the consumers
    #[arg(long)]
    pub alerts: bool,

    /// Also print snapshot records, without the JPEG
    #[arg(long)]
    pub snapshots: bool,

    /// Print each record as one line of JSON; snapshots without the JPEG
    #[arg(long)]
    pub json: bool,

    /// Also save the messages to a new file, for `lookout replay`
    ///
    /// The file is compressed if its name ends in `.zst` or `.gz`.
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
}

/// Write the messages of a recording of `lookout tail --save` to Kafka again
///
/// Messages keep their key, headers, timestamp and intervals. A topic that does not exist is created with its original
/// number of partitions. If the file is truncated, all complete messages are written.
///
/// Exit code: 0 success, 1 the file or the brokers failed, 2 wrong input.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  lookout replay night.jsonl.zst --brokers localhost:9092 --topic-prefix trial\n  lookout replay night.jsonl.zst --brokers localhost:9092 --speed 10 --shift-time"
)]
pub struct ReplayArgs {
    /// The recording, a file that `lookout tail --save` wrote
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Kafka brokers, `host:port,...`; this or `--pipeline` is required
    #[arg(long, value_name = "SERVERS", required_unless_present = "pipeline")]
    pub brokers: Option<String>,

    /// Read brokers, topic prefix and security settings from this pipeline file
    #[arg(long, value_name = "PIPELINE.toml", conflicts_with = "topic_prefix")]
    pub pipeline: Option<PathBuf>,

    /// Prefix of the topic names
    #[arg(long, default_value = "lookout", value_name = "PREFIX")]
    pub topic_prefix: String,

    /// Speed as a multiple of the original speed, or `max`
    #[arg(long, default_value = "1", value_name = "FACTOR")]
    pub speed: String,

    /// Shift the timestamps of messages and records to the current time, to test consumers that check their age
    #[arg(long)]
    pub shift_time: bool,
}
