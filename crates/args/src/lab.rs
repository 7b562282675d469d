//! The verbs of `lookout-lab`.

use std::path::PathBuf;

use clap::Args;

/// Which network, with which weights, where and in what numbers.
#[derive(Debug, Clone, Args)]
pub struct NetworkArgs {
    /// A classifier: resnet18, resnet34, resnet50, resnet101, resnet152, plain18 or plain34; or a detector:
    /// fcos_resnet50_fpn, retinanet_resnet50_fpn, retinanet_resnet50_fpn_v2, fasterrcnn_resnet50_fpn or
    /// fasterrcnn_resnet50_fpn_v2; or torchscript, a module of your own
    #[arg(long, default_value = "resnet50")]
    pub arch: String,

    /// `torchvision`, a .pth or .safetensors file, or `random:SEED`, which means nothing; of torchscript the
    /// module's file, whose program is run
    #[arg(long, default_value = "torchvision")]
    pub weights: String,

    /// What a torchscript module gives: `logits` or `boxes_scores_labels`
    #[arg(long, value_name = "KIND")]
    pub output_kind: Option<String>,

    /// `auto`, `cpu`, `cuda` or `cuda:N`
    #[arg(long, default_value = "auto")]
    pub device: String,

    /// CPU threads of the network; all cores if not given
    #[arg(long)]
    pub threads: Option<usize>,
}

/// Say what a network sees in pictures, a line of JSON a picture
///
/// For a classifier the picture is brought to the network's input as torchvision does for evaluation; for a
/// detector it is scaled into 640x384, its shape kept, and what scores above 0.5 is told.
///
/// Exit code: 0 done, 1 a picture could not be looked at, 2 wrong input.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  lookout infer cat.jpg dog.png --top-k 3\n  lookout infer street.jpg --arch fcos_resnet50_fpn --draw seen"
)]
pub struct InferArgs {
    /// JPEG, PNG, BMP or WebP files
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<PathBuf>,

    #[command(flatten)]
    pub network: NetworkArgs,

    /// `auto`, `fp32`, `bf16` or, on a GPU, `fp16`
    #[arg(long, default_value = "auto")]
    pub precision: String,

    /// The classes' names, one a line
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,

    /// How many classes a classifier is to name
    #[arg(long, default_value_t = 5)]
    pub top_k: usize,

    /// The network's input, WIDTHxHEIGHT
    #[arg(long, value_name = "SIZE")]
    pub input: Option<String>,

    /// How a picture comes into the input: `letterbox`, `center-crop`, `stretch`, or `torchvision`, which has
    /// no `--input`: as torchvision's detectors do, each picture is scaled by itself, its short side to 800, or
    /// less where its long side would be above 1333. Their published accuracies were measured so
    #[arg(long)]
    pub fit: Option<String>,

    /// Whether a picture is turned as its EXIF data says for display: `apply`, as viewers and annotation tools show it, or
    /// `ignore`, as its pixels are stored
    #[arg(long, default_value = "apply", value_name = "WHETHER")]
    pub exif_orientation: String,

    /// What a class or a detection has to score to be told, 0 to 1
    #[arg(long, value_name = "SCORE")]
    pub score_threshold: Option<f32>,

    /// Draw what is seen into a copy of each picture, a PNG in this folder named after the picture; a name
    /// that is taken in this run gets a number, and the line of JSON says the copy's path
    #[arg(long, value_name = "OUT_DIR")]
    pub draw: Option<PathBuf>,
}

/// Compute a network's raw outputs for a raw input, to hold against another implementation
///
/// The input holds `x` [N,3,H,W] in fp32, already normalized; nothing is resized or padded. The output will
/// hold `logits` [N,K] of a classifier. Of a detector it will hold the heads' outputs by torchvision's names
/// (`cls_logits`, `bbox_regression`, `bbox_ctrness`; `objectness`, `pred_bbox_deltas`, `class_logits`,
/// `box_regression`, and the `proposals` that the last two are about), and with torchvision's thresholds
/// `boxes` [M,4] in pixels of the input, `scores` [M], `labels` [M] and `image` [M], the picture each is in; of
/// a torchscript module these, or `logits`, as it gives them.
///
/// Exit code: 0 done, 1 the network failed, 2 wrong input.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Example:\n  lookout tensor --arch resnet50 --weights w.pth --input x.safetensors --output y.safetensors"
)]
pub struct TensorArgs {
    #[command(flatten)]
    pub network: NetworkArgs,

    /// `fp32`, `auto`, `bf16` or, on a GPU, `fp16`; several, with commas
    #[arg(long, default_value = "fp32", value_delimiter = ',')]
    pub precision: Vec<String>,

    /// Number of rows of `x` to compute, from the first; several, with commas
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub batch: Vec<usize>,

    /// Where `x` is
    #[arg(long, value_name = "IN.safetensors")]
    pub input: PathBuf,

    /// Where the outputs go. With several precisions, or with `--batch`, a folder, in which a file is named after both:
    /// `bf16-8.safetensors`
    #[arg(long, value_name = "OUT.safetensors")]
    pub output: PathBuf,
}

/// Measure a network alone: pictures a second and latency, by batch size
///
/// From pictures in memory to what is in them, as in a pipeline: stacked, normalized, through the network,
/// and read. The reading's part is told by itself.
///
/// Exit code: 0 done, 1 the network failed, 2 wrong input.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Example:\n  lookout bench --weights random:0 --batch 1,8,32 --precision fp32,bf16 --json"
)]
pub struct BenchArgs {
    #[command(flatten)]
    pub network: NetworkArgs,

    /// `auto`, `fp32`, `bf16` or, on a GPU, `fp16`; several, with commas, are measured in turn
    #[arg(long, default_value = "auto", value_delimiter = ',')]
    pub precision: Vec<String>,

    /// Batch sizes
    #[arg(long, default_value = "1,8", value_delimiter = ',')]
    pub batch: Vec<usize>,

    /// The network's input, WIDTHxHEIGHT
    #[arg(long, value_name = "SIZE")]
    pub input: Option<String>,

    /// Time for each measurement
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,

    /// Batches that are looked at side by side; as in a pipeline if not given
    #[arg(long)]
    pub streams: Option<usize>,

    /// Measure the network inside a worker's stages as well: batches across N cameras whose images are in memory. The
    /// latencies of that measurement are per frame rather than per batch
    #[arg(long, value_name = "N")]
    pub cameras: Option<usize>,

    /// Write what was measured into a file too, for `lookout plan --profile`
    #[arg(long, value_name = "OUT.json")]
    pub profile: Option<PathBuf>,

    /// Print one line of JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Compare what networks find on a device with what they find on the CPU, and see whether the device's memory grows
///
/// Random weights and images; the CPU computes in fp32. In 16 bits a few of the findings differ, since random weights make
/// many boxes that score almost the same.
///
/// Exit code: 0 the same, 1 not the same or the network failed, 2 wrong input.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  lookout check-device --device cuda:0 --batches 10000")]
pub struct CheckDeviceArgs {
    /// `auto`, `cpu`, `cuda` or `cuda:N`
    #[arg(long, default_value = "auto")]
    pub device: String,

    /// Networks
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

    /// The networks' input, WIDTHxHEIGHT; as in a pipeline if not given
    #[arg(long, value_name = "SIZE")]
    pub input: Option<String>,

    /// Also run this number of batches of changing sizes through a small network, and compare the memory in use
    #[arg(long, default_value_t = 0)]
    pub batches: usize,

    /// Print one line of JSON instead of a table
    #[arg(long)]
    pub json: bool,
}
