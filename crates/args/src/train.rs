//! `lookout train` and `lookout curves`.

use std::path::PathBuf;

use clap::Args;

/// Train a network with a recipe
///
/// A recipe is a TOML file that sets the network, the data sets, the augmentation and the optimizer; see `recipes/` and
/// docs/training.md. To resume an interrupted run from its last checkpoint, run the same recipe again. Annotations that
/// are skipped are counted and listed.
///
/// The run writes to the recipe's `output` folder: `best.safetensors`, which `lookout run` and torchvision load,
/// `last.safetensors`, `labels.txt`, `metrics.jsonl` and `curves.png`.
///
/// Exit code: 0 success, 1 the training failed, 2 wrong input.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  lookout train recipes/bccd.toml")]
pub struct TrainArgs {
    /// The recipe
    #[arg(value_name = "RECIPE.toml")]
    pub recipe: PathBuf,

    /// Only check the recipe and the data sets, and print a summary of the data sets
    #[arg(long)]
    pub check: bool,

    /// Start over: discard the run's checkpoint and metrics in the output folder
    #[arg(long)]
    pub restart: bool,
}

/// Plot the curves of several runs of `lookout train` in one image
///
/// The upper plot shows the losses, the lower plot the validation scores. Each run has the name of its folder.
///
/// Exit code: 0 success, 1 the image cannot be written, 2 wrong input.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  lookout curves runs/plain-18 runs/plain-34 --output curves.png")]
pub struct CurvesArgs {
    /// The `output` folders of the runs
    #[arg(required = true, value_name = "FOLDER")]
    pub folders: Vec<PathBuf>,

    /// Output image
    #[arg(long, default_value = "curves.png", value_name = "OUT.png")]
    pub output: PathBuf,
}
