//! `lookout plan`.

use std::path::PathBuf;

use clap::Args;

/// Calculate the resources of a fleet: machines, GPUs, batch size, CPU cores, Kafka
///
/// Connects to nothing. Every assumption is printed with its source; options replace them. Without `--profile`, the
/// calculation uses the figures of the machine in docs/performance.md, scaled by the networks' number of operations.
///
/// Exit code: 0 success, 2 wrong input, or no configuration meets the requirements.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  lookout plan --cameras 400 --fps 10 --arch resnet50\n  lookout bench --arch resnet50 --weights random:0 --batch 1,8,32 --profile gpu.json\n  lookout plan --cameras 400 --fps 10 --arch resnet50 --profile gpu.json --cores 16 --gpus 1"
)]
pub struct PlanArgs {
    /// Number of cameras
    #[arg(long, value_name = "N")]
    pub cameras: u32,

    /// Frames per second of each camera that the network processes
    #[arg(long)]
    pub fps: f64,

    /// The network, `arch` in a pipeline file
    #[arg(long)]
    pub arch: String,

    /// File that `lookout bench --profile` wrote on a machine of the type that you will use
    #[arg(long, value_name = "PROFILE.json")]
    pub profile: Option<PathBuf>,

    /// Use the profile's measurements in this precision [default: the fastest]
    #[arg(long)]
    pub precision: Option<String>,

    /// Input size of the network, WIDTHxHEIGHT [default: as measured]
    #[arg(long, value_name = "SIZE")]
    pub input: Option<String>,

    /// Maximum time from a decoded frame to its result
    #[arg(long, default_value_t = 500.0, value_name = "MS")]
    pub latency_ms: f64,

    /// Fraction of a machine that may be busy; the rest is for bursts and for the cameras of a failed machine
    #[arg(long, default_value_t = 0.7, value_name = "FRACTION")]
    pub utilization: f64,

    /// Number of spare machines
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub spare: u32,

    /// Cores per machine [default: as in the profile]
    #[arg(long, value_name = "N")]
    pub cores: Option<u32>,

    /// GPUs per machine, if the profile was measured on a GPU
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub gpus: u32,

    /// Frame size of the camera streams, WIDTHxHEIGHT
    #[arg(long, default_value = "1920x1080", value_name = "SIZE")]
    pub stream: String,

    /// Frames per second that a camera sends; all of them are decoded
    #[arg(long, default_value_t = 25.0, value_name = "FPS")]
    pub stream_fps: f64,

    /// CPU time to decode one frame [default: calculated from the frame size]
    #[arg(long, value_name = "MS")]
    pub decode_ms: Option<f64>,

    /// Average number of detections or classes per record
    #[arg(long, default_value_t = 5.0, value_name = "N")]
    pub results: f64,

    /// Retention time of the records in Kafka
    #[arg(long, default_value_t = 24.0, value_name = "HOURS")]
    pub retention_h: f64,

    /// Replication factor of the Kafka topics
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub replication: u32,

    /// Number of consumers that read every record
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub consumers: u32,

    /// Print one line of JSON instead of text
    #[arg(long)]
    pub json: bool,
}
