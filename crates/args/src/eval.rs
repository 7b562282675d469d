//! `lookout eval`.

use std::path::PathBuf;

use clap::Args;
use lookout_config::TrackerAlgorithm;

use crate::NetworkArgs;

/// Measure the accuracy of a network against ground truth
///
/// With `--data`, on labeled images. For a detector: the COCO metrics, equal to those of pycocotools. For a classifier:
/// top-1 and top-5 accuracy, precision and recall per class, and the confusion matrix.
///
/// With `--end-to-end`, through the whole system: simulated cameras, H.264, RTSP, a worker and Kafka. The records are
/// compared with the ground truth of the simulation: the COCO metrics, also on the raw frames, tracking metrics, the
/// error of the time to collision, the age of the records, and the number of missing frames.
///
/// With `--mot`, the tracker on sequences with detections and ground truth: HOTA as TrackEval computes it, and IDF1, MOTA
/// and their counts as py-motmetrics does. No network is run.
///
/// Exit code: 0 success, 1 the measurement failed, 2 wrong input.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  lookout eval --arch fcos_resnet50_fpn --weights best.safetensors --labels labels.txt --data coco:val\n  lookout eval --mot MOT15/train --every 3\n  lookout eval --arch fcos_resnet50_fpn --weights best.safetensors --labels labels.txt --end-to-end"
)]
pub struct EvalArgs {
    /// The network to evaluate.
    #[command(flatten)]
    pub network: NetworkArgs,

    /// `auto`, `fp32`, `bf16` or, on a GPU, `fp16`
    #[arg(long, default_value = "auto")]
    pub precision: String,

    /// Text file with one class name per line, as `lookout train` writes it. Without it: `labels.txt` next to
    /// the weights, or the names of COCO or ImageNet; otherwise the data set's classes are assumed, with a
    /// warning
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,

    /// Input size of the network, WIDTHxHEIGHT
    #[arg(long, value_name = "SIZE")]
    pub input: Option<String>,

    /// Labeled images: `folder:PATH`, `coco:PATH` or `voc:PATH`
    #[arg(long, value_name = "KIND:PATH", required_unless_present_any = ["end_to_end", "mot"])]
    pub data: Option<String>,

    /// Whether to rotate each image by its EXIF orientation: `apply`, as viewers and annotation tools do, or
    /// `ignore`, to use the pixels as stored
    #[arg(long, default_value = "apply", value_name = "MODE")]
    pub exif_orientation: String,

    /// Split of the data set, such as `val`
    #[arg(long, requires = "data")]
    pub split: Option<String>,

    /// Measure end to end, with simulated cameras, a worker and Kafka
    #[arg(long, conflicts_with = "data")]
    pub end_to_end: bool,

    /// The simulated cameras of `--end-to-end`.
    #[command(flatten)]
    pub farm: EvalFarmArgs,

    /// Evaluate the tracker on the sequences in this folder, in the layout of MOTChallenge (`NAME/seqinfo.ini`) or of
    /// KITTI (`label_02`, `det_02`), with the detections in it
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["data", "end_to_end", "output"])]
    pub mot: Option<PathBuf>,

    /// The options of `--mot`.
    #[command(flatten)]
    pub tracks: EvalTracksArgs,

    /// Write the report into this folder, as `report.md` with plots and `metrics.json`
    #[arg(long, value_name = "FOLDER")]
    pub output: Option<PathBuf>,

    /// Print the metrics as one line of JSON instead of the report
    #[arg(long)]
    pub json: bool,
}

/// The options of `--mot`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "With --mot")]
pub struct EvalTracksArgs {
    /// `lookout`, `sort`, `bytetrack` or `ocsort`
    #[arg(long, default_value = "lookout", requires = "mot", value_name = "NAME")]
    pub tracker: TrackerAlgorithm,

    /// Take each Nth frame, as at a lower frame rate
    #[arg(long, default_value_t = 1, requires = "mot", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub every: u32,

    /// Write the tracks of each sequence into this folder, as `NAME.txt` in the format of MOTChallenge
    #[arg(long, requires = "mot", value_name = "FOLDER")]
    pub write: Option<PathBuf>,
}

/// The simulated cameras of `--end-to-end`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "With --end-to-end")]
pub struct EvalFarmArgs {
    /// Number of cameras; with two or more, the last one is a vehicle's camera
    #[arg(long, default_value_t = 4, requires = "end_to_end", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub cameras: u16,

    /// Frames per second of each camera; frames that the machine cannot process are dropped and counted
    #[arg(long, default_value_t = 2, requires = "end_to_end", value_parser = clap::value_parser!(u32).range(1..=60))]
    pub fps: u32,

    /// Duration of the measurement, in seconds
    #[arg(long, default_value_t = 30, requires = "end_to_end", value_parser = clap::value_parser!(u64).range(2..=3600))]
    pub seconds: u64,

    /// Extend the measurement until this many records of each camera have a time of the camera's clock, so that a slow
    /// machine also evaluates enough frames
    #[arg(long, default_value_t = 0, value_name = "COUNT", requires = "end_to_end")]
    pub frames: u64,

    /// Seed of the scenes; use one that was not used for training
    #[arg(long, default_value_t = 900_000, requires = "end_to_end")]
    pub seed: u64,
}
