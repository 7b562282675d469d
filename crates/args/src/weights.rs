//! `lookout weights`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// List, fetch and convert the networks' weights
///
/// What is fetched is kept in `$LOOKOUT_CACHE/weights`, or `~/.cache/lookout/weights`.
///
/// Exit code: 0 done, 1 the weights could not be fetched or written, 2 wrong input.
#[derive(Debug, Clone, Args)]
pub struct WeightsArgs {
    #[command(subcommand)]
    pub verb: WeightsVerb,
}

/// What to do with weights.
#[derive(Debug, Clone, Subcommand)]
pub enum WeightsVerb {
    /// List the weights that torchvision publishes, and whether they are in the cache
    ///
    /// Of several for one network, `weights = "torchvision"` takes the one marked with a star.
    List {
        /// Print a line of JSON for each
        #[arg(long)]
        json: bool,
    },
    /// Fetch weights that torchvision publishes into the cache, and print their path
    ///
    /// They come from `https://download.pytorch.org/models`, or from `$LOOKOUT_WEIGHTS_URL`. Size and
    /// SHA-256 are checked. What is whole in the cache is not fetched again.
    #[command(after_help = "Example:\n  lookout weights pull resnet50")]
    Pull {
        /// The network
        arch: String,

        /// Which training of it, as `lookout weights list` names it; the best one if not given
        #[arg(long)]
        version: Option<String>,
    },
    /// Convert a checkpoint that torch saved to .safetensors, without running code from it
    ///
    /// Reads what `torch.save` wrote of a state dict, or of a checkpoint that holds one under a usual key such as
    /// `state_dict` or `model`, in its formats of today and of before torch 1.6. What wrappers put before all names
    /// (`module.`, `_orig_mod.`, `model.`) is removed.
    #[command(after_help = "Example:\n  lookout weights import best.pth --output best.safetensors")]
    Import {
        /// The checkpoint: .pth, .pt or .safetensors
        file: PathBuf,

        /// Where to write the weights
        #[arg(long, value_name = "OUT.safetensors")]
        output: PathBuf,

        /// Take only the tensors whose names begin so, such as `student.`, and remove that from the names
        #[arg(long)]
        prefix: Option<String>,

        /// Keep the layers' weights in eight bits, with a scale for each output: a quarter of the size, and near the
        /// same numbers when it is read
        #[arg(long)]
        int8: bool,
    },
}
