//! `lookout weights`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// List, download and convert weights of the networks
///
/// Downloaded weights are stored in `$LOOKOUT_CACHE/weights`, by default `~/.cache/lookout/weights`.
///
/// Exit code: 0 success, 1 the weights could not be downloaded or written, 2 wrong input.
#[derive(Debug, Clone, Args)]
pub struct WeightsArgs {
    /// What to do with the weights.
    #[command(subcommand)]
    pub verb: WeightsVerb,
}

/// A command for weights.
#[derive(Debug, Clone, Subcommand)]
pub enum WeightsVerb {
    /// List the weights that torchvision publishes, and whether they are in the cache
    ///
    /// If a network has several, `weights = "torchvision"` uses the one marked with a star.
    List {
        /// Print one line of JSON per entry
        #[arg(long)]
        json: bool,
    },
    /// Download weights that torchvision publishes into the cache, and print their path
    ///
    /// The source is `https://download.pytorch.org/models`, or `$LOOKOUT_WEIGHTS_URL` if it is set. Size and
    /// SHA-256 are verified. Files that are complete in the cache are not downloaded again.
    #[command(after_help = "Example:\n  lookout weights pull resnet50")]
    Pull {
        /// The network
        arch: String,

        /// Version of the weights, as listed by `lookout weights list` [default: the best one]
        #[arg(long)]
        version: Option<String>,
    },
    /// Convert a PyTorch checkpoint to .safetensors, without executing code from it
    ///
    /// Reads files that `torch.save` wrote, in the current format and in the one before PyTorch 1.6: a state dict, or
    /// a checkpoint that contains one under a usual key such as `state_dict` or `model`. Prefixes that wrappers add to
    /// all names (`module.`, `_orig_mod.`, `model.`) are removed.
    #[command(after_help = "Example:\n  lookout weights import best.pth --output best.safetensors")]
    Import {
        /// The checkpoint: .pth, .pt or .safetensors
        file: PathBuf,

        /// Output file
        #[arg(long, value_name = "OUT.safetensors")]
        output: PathBuf,

        /// Convert only tensors whose names start with this prefix, such as `student.`, and remove the prefix
        #[arg(long)]
        prefix: Option<String>,

        /// Store the weights of the layers as 8-bit integers with one scale per output channel: a quarter of the size,
        /// and approximately the same weights when the file is loaded
        #[arg(long)]
        int8: bool,
    },
}
