//! `lookout train` and `lookout curves`.

use std::path::PathBuf;

use clap::Args;

/// Train a network as a recipe says
///
/// A recipe is a TOML file: the network, the data sets, how pictures are changed by chance, the optimizer; see
/// `recipes/` and docs/training.md. A run that was stopped goes on where its last checkpoint is, when the same recipe
/// is run again. What is left out of a data set is said.
///
/// In the recipe's `output` are then `best.safetensors`, which `lookout run` and torchvision load,
/// `last.safetensors`, `labels.txt`, `metrics.jsonl` and `curves.png`.
///
/// Exit code: 0 done, 1 failed while training, 2 wrong input.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  lookout train recipes/bccd.toml")]
pub struct TrainArgs {
    #[arg(value_name = "RECIPE.toml")]
    pub recipe: PathBuf,

    /// Only read the recipe and the data sets, and say what is in them
    #[arg(long)]
    pub check: bool,

    /// Begin anew: what the output folder holds of the run is replaced
    #[arg(long)]
    pub anew: bool,
}

/// Draw the curves of several runs of `lookout train` over each other
///
/// The losses above, the scores below, each run by the name of its folder.
///
/// Exit code: 0 done, 1 the picture cannot be written, 2 wrong input.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  lookout curves runs/plain-18 runs/plain-34 --output curves.png")]
pub struct CurvesArgs {
    /// The `output` folders of their recipes
    #[arg(required = true, value_name = "FOLDER")]
    pub folders: Vec<PathBuf>,

    /// The picture
    #[arg(long, default_value = "curves.png", value_name = "OUT.png")]
    pub output: PathBuf,
}
