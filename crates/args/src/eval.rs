//! `lookout eval`.

use std::path::PathBuf;

use clap::Args;

use crate::NetworkArgs;

/// Say how good a network is, by what is true of pictures
///
/// With `--data`, on pictures with their truth: for a detector COCO's average precisions, equal to pycocotools', for a
/// classifier top-1 and top-5, precision and recall of each class, and the confusion matrix.
///
/// With `--end-to-end`, through all of Lookout: simulated cameras, H.264, RTSP, a worker, Kafka and back, held against
/// what the cameras showed: the same precisions and those on the raw pictures, how well objects are followed, how far
/// off times to collision are, how old the records were, and which frames are missing.
///
/// Exit code: 0 done, 1 failed while measuring, 2 wrong input.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  lookout eval --arch fcos_resnet50_fpn --weights best.safetensors --labels labels.txt --data coco:val\n  lookout eval --arch fcos_resnet50_fpn --weights best.safetensors --labels labels.txt --end-to-end"
)]
pub struct EvalArgs {
    #[command(flatten)]
    pub network: NetworkArgs,

    /// `auto`, `fp32`, `bf16` or, on a GPU, `fp16`
    #[arg(long, default_value = "auto")]
    pub precision: String,

    /// The classes' names, one a line, as `lookout train` writes them; without them those of a `labels.txt` beside the
    /// weights, of COCO or of ImageNet; else the data set's classes are taken to be the network's, with a warning
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,

    /// The network's input, WIDTHxHEIGHT
    #[arg(long, value_name = "SIZE")]
    pub input: Option<String>,

    /// Pictures with what is true of them: `folder:PATH`, `coco:PATH` or `voc:PATH`
    #[arg(long, value_name = "KIND:PATH", required_unless_present = "end_to_end")]
    pub data: Option<String>,

    /// Whether a picture is turned as its EXIF data says for display: `apply`, as viewers and annotation tools show it, or
    /// `ignore`, as its pixels are stored
    #[arg(long, default_value = "apply", value_name = "WHETHER")]
    pub exif_orientation: String,

    /// Which part of the data set
    #[arg(long, requires = "data")]
    pub split: Option<String>,

    /// Measure through simulated cameras, a worker and Kafka
    #[arg(long, conflicts_with = "data")]
    pub end_to_end: bool,

    #[command(flatten)]
    pub farm: EvalFarmArgs,

    /// Write the report with its pictures into this folder, as `report.md`
    #[arg(long, value_name = "FOLDER")]
    pub output: Option<PathBuf>,

    /// Print the numbers as one line of JSON instead of the report
    #[arg(long)]
    pub json: bool,
}

/// The simulated cameras of `--end-to-end`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "With --end-to-end")]
pub struct EvalFarmArgs {
    /// How many cameras; the last drives, where there are two or more
    #[arg(long, default_value_t = 4, requires = "end_to_end", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub cameras: u16,

    /// Frames a second of each camera; what the machine does not keep up with is dropped, and told
    #[arg(long, default_value_t = 2, requires = "end_to_end", value_parser = clap::value_parser!(u32).range(1..=60))]
    pub fps: u32,

    /// How long each camera is watched
    #[arg(long, default_value_t = 30, requires = "end_to_end", value_parser = clap::value_parser!(u64).range(2..=3600))]
    pub seconds: u64,

    /// Watch for longer than `--seconds` until this many records of each camera are dated by the camera's clock, so that
    /// the figures rest on as many frames on a slow machine
    #[arg(long, default_value_t = 0, value_name = "COUNT", requires = "end_to_end")]
    pub frames: u64,

    /// The scenes' seed: one that no training has seen
    #[arg(long, default_value_t = 900_000, requires = "end_to_end")]
    pub seed: u64,
}
