//! The verbs of `lookout-sim`.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand};

/// Simulated cameras with known truth
///
/// Roads, yards and drives from a seed: the same seed gives the same pictures on every machine. Cars, trucks,
/// cyclists and people, with boxes, tracks, distances and times to collision.
#[derive(Debug, Clone, Args)]
pub struct SimArgs {
    #[command(subcommand)]
    pub verb: SimVerb,
}

#[derive(Debug, Clone, Subcommand)]
pub enum SimVerb {
    Dataset(SimDatasetArgs),
    Video(SimVideoArgs),
    Serve(SimServeArgs),
}

/// Write pictures with their boxes, in COCO's format, or with their objects cut out
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  lookout sim dataset pictures --scenes 500 --seed 1000\n  lookout sim dataset crops --scenes 500 --crops 32"
)]
pub struct SimDatasetArgs {
    /// Where `annotations.json` and `images/` are written, or with `--crops` a folder a class
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,

    /// The first scene's seed
    #[arg(long, default_value_t = 1000)]
    pub seed: u64,

    /// How many scenes, a seed each: a road, a yard and a drive in turn
    #[arg(long, default_value_t = 100)]
    pub scenes: u64,

    /// Pictures of each scene, each by another camera in another weather
    #[arg(long, default_value_t = 4)]
    pub pictures: u64,

    /// WIDTHxHEIGHT
    #[arg(long, default_value = "640x360")]
    pub size: String,

    /// For classifiers: not the pictures but every object in them that can be asked for, cut out as a square with some
    /// of its surroundings and scaled to so many pixels a side, as PNG in a folder a class
    #[arg(long, value_name = "SIDE", value_parser = clap::value_parser!(u32).range(8..=1024))]
    pub crops: Option<u32>,
}

/// Write a camera's video, with the truth of each frame beside it
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  lookout sim video drive.mp4 --place drive --seconds 60")]
pub struct SimVideoArgs {
    /// An MP4 file; the truth goes to a file of the same name that ends in `.jsonl`
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    #[command(flatten)]
    pub camera: SimCameraArgs,

    /// The camera's number: each of a scene looks from elsewhere
    #[arg(long, default_value_t = 0)]
    pub camera_number: usize,

    /// How long it is
    #[arg(long, default_value_t = 30)]
    pub seconds: u64,
}

/// What simulated cameras show
#[derive(Debug, Clone, Args)]
pub struct SimCameraArgs {
    /// `road`, `yard` or `drive`
    #[arg(long, default_value = "road")]
    pub place: String,

    /// The scene's seed
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// WIDTHxHEIGHT, both even
    #[arg(long, default_value = "640x360")]
    pub size: String,

    /// Frames a second
    #[arg(long, default_value_t = 10)]
    pub fps: u32,

    /// `clear`, or `seed` for the weather of the seed
    #[arg(long, default_value = "seed")]
    pub weather: String,
}

/// Serve simulated cameras over RTSP, with RTCP time
///
/// Camera N is `rtsp://ADDRESS/camera-N`. Each shows a clip over and over, which is drawn and encoded once; cameras
/// beyond `--clips` show the clips of the first ones.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  lookout sim serve --cameras 8\n  lookout sim serve --cameras 4 --fault 2:silence@20+10 --truth truth.jsonl"
)]
pub struct SimServeArgs {
    /// How many cameras
    #[arg(long, default_value_t = 4)]
    pub cameras: usize,

    /// How many different ones are drawn; the last drives, if there are two or more and `--place` says nothing else
    #[arg(long, default_value_t = 4)]
    pub clips: usize,

    #[command(flatten)]
    pub camera: SimCameraArgs,

    /// How long a clip is, in seconds
    #[arg(long, default_value_t = 30)]
    pub seconds: u64,

    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:8554", value_name = "ADDRESS")]
    pub listen: SocketAddr,

    /// What is to go wrong, CAMERA:KIND@FROM+SECONDS: burst, loss, silence, half-rate, resolution, clock-jump or
    /// disconnect
    #[arg(long, value_name = "FAULT")]
    pub fault: Vec<String>,

    /// Write what is true of each frame as it is shown, a line of JSON each with the camera and the time
    #[arg(long, value_name = "FILE")]
    pub truth: Option<PathBuf>,

    /// Write the clips' frames as they were drawn into this folder, with their truth in COCO's format, to hold what was
    /// found in the video against what is found in them
    #[arg(long, value_name = "FOLDER")]
    pub frames: Option<PathBuf>,

    /// Stop after so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub stop_after: Option<u64>,
}
