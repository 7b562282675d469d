//! `lookout train`.

use std::path::PathBuf;

use clap::Args;

/// Train a network as a recipe says
///
/// A recipe is a TOML file: the network, the data sets, how pictures are changed by chance, the optimiser; see
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
