//! `lookout plan`.

use std::path::PathBuf;

use clap::Args;

/// Say what a fleet needs: machines, GPUs, batch size, decoding, Kafka
///
/// Calculates and reaches for nothing. Every assumption is printed with where it comes from; each can be
/// replaced by an option. Without a profile the figures are those of the machine in docs/performance.md, and
/// what was not measured there is scaled by the networks' arithmetic.
///
/// Exit code: 0 done, 2 wrong input, or what was asked for cannot be met.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  lookout plan --cameras 400 --fps 10 --arch resnet50\n  lookout bench --arch resnet50 --weights random:0 --batch 1,8,32 --profile gpu.json\n  lookout plan --cameras 400 --fps 10 --arch resnet50 --profile gpu.json --cores 16 --gpus 1"
)]
pub struct PlanArgs {
    /// How many cameras
    #[arg(long, value_name = "N")]
    pub cameras: u32,

    /// Frames a second of each camera that the network looks at
    #[arg(long)]
    pub fps: f64,

    /// The network, as in a pipeline file
    #[arg(long)]
    pub arch: String,

    /// What `lookout bench --profile` wrote on a machine of the kind that is planned with
    #[arg(long, value_name = "PROFILE.json")]
    pub profile: Option<PathBuf>,

    /// Of the profile's measurements, take those of this precision; the fastest if not given
    #[arg(long)]
    pub precision: Option<String>,

    /// The network's input, WIDTHxHEIGHT; as measured if not given
    #[arg(long, value_name = "SIZE")]
    pub input: Option<String>,

    /// Longest time from a decoded frame to its result
    #[arg(long, default_value_t = 500.0, value_name = "MS")]
    pub latency_ms: f64,

    /// Part of a machine that may be busy, so that bursts and a lost machine's cameras find room
    #[arg(long, default_value_t = 0.7, value_name = "PART")]
    pub utilization: f64,

    /// Machines beyond those that carry the load
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub spare: u32,

    /// Cores of a machine; the profile's if not given
    #[arg(long, value_name = "N")]
    pub cores: Option<u32>,

    /// GPUs of a machine, where the profile is a GPU's
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub gpus: u32,

    /// The cameras' pictures, WIDTHxHEIGHT
    #[arg(long, default_value = "1920x1080", value_name = "SIZE")]
    pub stream: String,

    /// Frames a second that a camera sends, all of which are decoded
    #[arg(long, default_value_t = 25.0, value_name = "FPS")]
    pub stream_fps: f64,

    /// CPU time to decode one frame; by the size of the pictures if not given
    #[arg(long, value_name = "MS")]
    pub decode_ms: Option<f64>,

    /// Detections, or named classes, in a record
    #[arg(long, default_value_t = 5.0, value_name = "N")]
    pub findings: f64,

    /// How long Kafka keeps records
    #[arg(long, default_value_t = 24.0, value_name = "HOURS")]
    pub retention_h: f64,

    /// Copies of a record that Kafka keeps
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub replication: u32,

    /// How often every record is read
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub consumers: u32,

    /// Print one line of JSON instead of a text
    #[arg(long)]
    pub json: bool,
}
