//! The subcommands of `lookout-lab`.

use std::path::PathBuf;

use clap::Args;
use lookout_config::{TORCHSCRIPT, Task, arch_names_of};

/// The network, its weights and the device.
#[derive(Debug, Clone, Args)]
pub struct NetworkArgs {
    /// Name of the network; the help text lists all of them.
    #[arg(long, default_value = "resnet50", help = arch_help())]
    pub arch: String,

    /// `torchvision`, a .pth or .safetensors file, or `random:SEED` (for benchmarks: results are meaningless); for
    /// torchscript, the module's file, whose code is executed
    #[arg(long, default_value = "torchvision")]
    pub weights: String,

    /// Output of a torchscript module: `logits` or `boxes_scores_labels`
    #[arg(long, value_name = "KIND")]
    pub output_kind: Option<String>,

    /// `auto`, `cpu`, `cuda` or `cuda:N`
    #[arg(long, default_value = "auto")]
    pub device: String,

    /// CPU threads for the network [default: all cores]
    #[arg(long)]
    pub threads: Option<usize>,
}

/// Returns the help of `--arch`, with the names of all networks.
fn arch_help() -> String {
    let any_of = |task| {
        let names: Vec<&str> = arch_names_of(task).collect();
        match names.split_last() {
            Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
            _ => names.concat(),
        }
    };
    format!(
        "A classifier: {}; a detector: {}; or {TORCHSCRIPT}, for your own TorchScript module",
        any_of(Task::Classification),
        any_of(Task::Detection)
    )
}

/// Run inference on images; prints one line of JSON per image
///
/// By default, images for a classifier are preprocessed as in torchvision's evaluation: short side resized, center
/// cropped. Images for a detector are letterboxed to 640x384, and detections with a score above 0.5 are printed.
///
/// Exit code: 0 success, 1 an image could not be processed, 2 wrong input.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  lookout infer cat.jpg dog.png --top-k 3\n  lookout infer street.jpg --arch fcos_resnet50_fpn --draw results"
)]
pub struct InferArgs {
    /// JPEG, PNG, BMP or WebP files
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<PathBuf>,

    /// The network to run.
    #[command(flatten)]
    pub network: NetworkArgs,

    /// `auto`, `fp32`, `bf16` or, on a GPU, `fp16`
    #[arg(long, default_value = "auto")]
    pub precision: String,

    /// Text file with one class name per line
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,

    /// Number of classes to print for a classifier
    #[arg(long, default_value_t = 5)]
    pub top_k: usize,

    /// Input size of the network, WIDTHxHEIGHT
    #[arg(long, value_name = "SIZE")]
    pub input: Option<String>,

    /// Resize mode: `letterbox`, `center-crop`, `stretch`, or `torchvision`, which cannot be combined with `--input`:
    /// like torchvision's detectors, it scales each image to a short side of 800 pixels, or less if the long side
    /// would exceed 1333. The published accuracies were measured with it
    #[arg(long)]
    pub resize_mode: Option<String>,

    /// Whether to rotate each image by its EXIF orientation: `apply`, as viewers and annotation tools do, or
    /// `ignore`, to use the pixels as stored
    #[arg(long, default_value = "apply", value_name = "MODE")]
    pub exif_orientation: String,

    /// Score threshold for classes and detections, 0 to 1
    #[arg(long, value_name = "SCORE")]
    pub score_threshold: Option<f32>,

    /// Draw the results into a copy of each image, a PNG in this folder with the image's name; a number is appended if
    /// this run already used the name. The line of JSON contains the path of the copy
    #[arg(long, value_name = "OUT_DIR")]
    pub draw: Option<PathBuf>,
}

/// Compute a network's raw outputs for a tensor, to compare them with another implementation
///
/// The input file contains `x [N,3,H,W]` in fp32, already normalized; nothing is resized or padded. For a classifier,
/// the output file contains `logits [N,K]`. For a detector, it contains the outputs of the heads with torchvision's
/// names (`cls_logits`, `bbox_regression`, `bbox_ctrness`; `objectness`, `pred_bbox_deltas`, `class_logits`,
/// `box_regression`, and the `proposals` that the last two refer to), and the detections with torchvision's
/// thresholds: `boxes [M,4]` in pixels of the input, `scores [M]`, `labels [M]`, and `image [M]`, the index of the
/// image in the batch. For a torchscript module, it contains these detections or `logits`, as the module returns
/// them.
///
/// Exit code: 0 success, 1 the network failed, 2 wrong input.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Example:\n  lookout tensor --arch resnet50 --weights w.pth --input x.safetensors --output y.safetensors"
)]
pub struct TensorArgs {
    /// The network to run.
    #[command(flatten)]
    pub network: NetworkArgs,

    /// `fp32`, `auto`, `bf16` or, on a GPU, `fp16`; a comma-separated list is possible
    #[arg(long, default_value = "fp32", value_delimiter = ',')]
    pub precision: Vec<String>,

    /// Compute the first N rows of `x` only; a comma-separated list is possible
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub batch: Vec<usize>,

    /// Input file with `x`
    #[arg(long, value_name = "IN.safetensors")]
    pub input: PathBuf,

    /// Output file. With several precisions, or with `--batch`, a folder for one file per combination, such as
    /// `bf16-8.safetensors`
    #[arg(long, value_name = "OUT.safetensors")]
    pub output: PathBuf,
}

/// Measure throughput (images per second) and latency of a network by batch size, without cameras and Kafka
///
/// Measures from images in memory to results, as in a pipeline: stacking, normalization, forward pass and
/// postprocessing. The time of the postprocessing is also reported separately.
///
/// Exit code: 0 success, 1 the network failed, 2 wrong input.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Example:\n  lookout bench --weights random:0 --batch 1,8,32 --precision fp32,bf16 --json"
)]
pub struct BenchArgs {
    /// The network to run.
    #[command(flatten)]
    pub network: NetworkArgs,

    /// `auto`, `fp32`, `bf16` or, on a GPU, `fp16`; a comma-separated list is measured one by one
    #[arg(long, default_value = "auto", value_delimiter = ',')]
    pub precision: Vec<String>,

    /// Batch sizes
    #[arg(long, default_value = "1,8", value_delimiter = ',')]
    pub batch: Vec<usize>,

    /// Input size of the network, WIDTHxHEIGHT
    #[arg(long, value_name = "SIZE")]
    pub input: Option<String>,

    /// Duration of each measurement, in seconds
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,

    /// Number of batches that are processed in parallel [default: as in a pipeline]
    #[arg(long)]
    pub streams: Option<usize>,

    /// Measure the network inside a worker's stages as well: batches across N cameras whose images are in memory. The
    /// latencies of that measurement are per frame rather than per batch
    #[arg(long, value_name = "N")]
    pub cameras: Option<usize>,

    /// Also write the measurements to a file, for `lookout plan --profile`
    #[arg(long, value_name = "OUT.json")]
    pub profile: Option<PathBuf>,

    /// Print one line of JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Compare the results of networks on a device with those on the CPU, and check the device for memory growth
///
/// Uses random weights and images; the CPU computes in fp32. With 16-bit precision, a few results differ because random
/// weights produce many boxes with almost the same score.
///
/// Exit code: 0 the results match, 1 they differ or a network failed, 2 wrong input.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  lookout check-device --device cuda:0 --batches 10000")]
pub struct CheckDeviceArgs {
    /// `auto`, `cpu`, `cuda` or `cuda:N`
    #[arg(long, default_value = "auto")]
    pub device: String,

    /// Networks to check
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "resnet50,fcos_resnet50_fpn,retinanet_resnet50_fpn,retinanet_resnet50_fpn_v2,fasterrcnn_resnet50_fpn"
    )]
    pub arch: Vec<String>,

    /// `fp32`, `bf16` or, on a GPU, `fp16`
    #[arg(long, value_delimiter = ',', default_value = "fp32,bf16")]
    pub precision: Vec<String>,

    /// Batch sizes
    #[arg(long, value_delimiter = ',', default_value = "1,3,8")]
    pub batch: Vec<usize>,

    /// Input size of the networks, WIDTHxHEIGHT [default: as in a pipeline]
    #[arg(long, value_name = "SIZE")]
    pub input: Option<String>,

    /// Also run this number of batches of varying sizes through a small network, and compare the memory in use
    #[arg(long, default_value_t = 0)]
    pub batches: usize,

    /// Print one line of JSON instead of a table
    #[arg(long)]
    pub json: bool,
}
