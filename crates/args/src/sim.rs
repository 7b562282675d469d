//! The subcommands of `lookout-sim`.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand};

/// Generate images, videos and RTSP cameras of a simulated world with ground truth
///
/// The scenes are roads, yards and drives; the same seed gives the same frames on every machine. The ground truth of
/// the cars, trucks, cyclists and people has bounding boxes, track ids, distances and times to collision.
#[derive(Debug, Clone, Args)]
pub struct SimArgs {
    /// What to simulate.
    #[command(subcommand)]
    pub verb: SimVerb,
}

/// A command of the simulator.
#[derive(Debug, Clone, Subcommand)]
#[expect(missing_docs, reason = "comments would replace the help texts of the types")]
pub enum SimVerb {
    Dataset(SimDatasetArgs),
    Video(SimVideoArgs),
    Serve(SimServeArgs),
}

/// Write images with bounding boxes in COCO format, or crops of their objects
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  lookout sim dataset images --scenes 500 --seed 1000\n  lookout sim dataset crops --scenes 500 --crops 32"
)]
pub struct SimDatasetArgs {
    /// Output folder for `annotations.json` and `images/`, or with `--crops` for one folder per class
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,

    /// Seed of the first scene
    #[arg(long, default_value_t = 1000)]
    pub seed: u64,

    /// Number of scenes, with consecutive seeds: road, yard and drive alternate
    #[arg(long, default_value_t = 100)]
    pub scenes: u64,

    /// Images per scene, each with a different camera and weather
    #[arg(long, default_value_t = 4)]
    pub images: u64,

    /// Size of the images, WIDTHxHEIGHT
    #[arg(long, default_value = "640x360")]
    pub size: String,

    /// For classifiers: instead of the images, write a square crop of each object that is large and visible enough,
    /// with a margin, scaled to SIDE x SIDE pixels, as PNG in one folder per class
    #[arg(long, value_name = "SIDE", value_parser = clap::value_parser!(u32).range(8..=1024))]
    pub crops: Option<u32>,
}

/// Write the video of one camera, and a file with the ground truth of each frame
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  lookout sim video drive.mp4 --scene drive --seconds 60")]
pub struct SimVideoArgs {
    /// Output MP4 file; the ground truth is written to a file with the same name and the extension `.jsonl`
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// The scene and the format of the cameras.
    #[command(flatten)]
    pub camera: SimCameraArgs,

    /// Number of the camera in the scene; each has a different position
    #[arg(long, default_value_t = 0)]
    pub camera_number: usize,

    /// Duration of the video, in seconds
    #[arg(long, default_value_t = 30)]
    pub seconds: u64,
}

/// The scene and the format of simulated cameras
#[derive(Debug, Clone, Args)]
pub struct SimCameraArgs {
    /// Type of the scene: `road`, `yard` or `drive`
    #[arg(long, default_value = "road")]
    pub scene: String,

    /// Seed of the scene
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Frame size, WIDTHxHEIGHT, both even
    #[arg(long, default_value = "640x360")]
    pub size: String,

    /// Frames per second
    #[arg(long, default_value_t = 10)]
    pub fps: u32,

    /// `clear`, or `seed` for weather that depends on the seed
    #[arg(long, default_value = "seed")]
    pub weather: String,
}

/// Serve simulated cameras over RTSP, with RTCP sender reports
///
/// Camera N is `rtsp://ADDRESS/camera-N`. Each camera repeats a clip that is rendered and encoded once; cameras beyond
/// `--clips` reuse the clips of the first cameras.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  lookout sim serve --cameras 8\n  lookout sim serve --cameras 4 --fault 2:silence@20+10 --ground-truth truth.jsonl"
)]
pub struct SimServeArgs {
    /// Number of cameras
    #[arg(long, default_value_t = 4)]
    pub cameras: usize,

    /// Number of different clips; with `--scene road` and two or more clips, the last one is a drive
    #[arg(long, default_value_t = 4)]
    pub clips: usize,

    /// The scene and the format of the cameras.
    #[command(flatten)]
    pub camera: SimCameraArgs,

    /// Duration of a clip, in seconds
    #[arg(long, default_value_t = 30)]
    pub seconds: u64,

    /// Listen address
    #[arg(long, default_value = "127.0.0.1:8554", value_name = "ADDRESS")]
    pub listen: SocketAddr,

    /// Simulate a fault, CAMERA:KIND@FROM+SECONDS, with KIND burst, loss, silence, half-rate, resolution, clock-jump or
    /// disconnect; can be repeated
    #[arg(long, value_name = "FAULT")]
    pub fault: Vec<String>,

    /// Write the ground truth of each frame when it is sent, one line of JSON with the camera and the time
    #[arg(long, value_name = "FILE")]
    pub ground_truth: Option<PathBuf>,

    /// Write the rendered frames of the clips into this folder before they are encoded, with ground truth in COCO
    /// format, to compare detections in the video with detections in the raw frames
    #[arg(long, value_name = "FOLDER")]
    pub frames: Option<PathBuf>,

    /// Exit after this number of seconds
    #[arg(long, value_name = "SECONDS")]
    pub stop_after: Option<u64>,
}
