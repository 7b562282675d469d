//! A training run: its settings, the batches and the evaluator that it needs, and its result.

mod training_loop;

use std::{collections::BTreeMap, fs, path::PathBuf};

use lookout_config::{FitSettings, OptimizerSettings, ScheduleSettings};
use lookout_model::{PreparedNetwork, Target, weights::StateDict};
use tch::Tensor;

use self::training_loop::TrainingLoop;
use super::{FitError, Identity, TrainingEvent};
use crate::{ClassLoss, Truth};

/// A batch of images with their ground truth.
#[derive(Debug)]
pub struct Batch {
    /// `[N, 3, H, W]`, normalized, in fp32 on the CPU.
    pub x: Tensor,
    pub truth: Truth,
}

/// A batch, or why it could not be read.
pub type BatchResult = Result<Batch, Box<dyn std::error::Error + Send + Sync>>;

/// A source of batches. The content of an epoch depends only on its number, so that a run can be resumed in the middle
/// of an epoch.
pub trait Batches {
    /// Returns the number of batches in an epoch, which is the same for all epochs.
    fn per_epoch(&self) -> u64;

    /// Returns the batches of an epoch, counted from 0, without the first `first`.
    fn epoch(&mut self, epoch: u64, first: u64) -> Box<dyn Iterator<Item = BatchResult> + '_>;
}

/// The result of an evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluationResult {
    /// The score by which the best network is chosen; higher is better.
    pub score: f64,
    pub metrics: BTreeMap<String, f64>,
}

/// Evaluates networks.
pub trait Evaluator {
    /// Evaluates a network that is prepared as for inference.
    fn evaluate(
        &mut self,
        network: &PreparedNetwork,
    ) -> Result<EvaluationResult, Box<dyn std::error::Error + Send + Sync>>;
}

/// The settings and initial weights of a training run.
#[derive(Debug)]
pub struct Trainer {
    /// The name of a built-in network.
    pub arch: String,
    /// Number of the network's outputs, which for a detector includes the background.
    pub classes: i64,
    pub target: Target,
    pub fit: FitSettings,
    pub optimizer: OptimizerSettings,
    pub schedule: ScheduleSettings,
    pub class_loss: ClassLoss,
    /// Initial weights of the whole network.
    pub weights: Option<StateDict>,
    /// For a detector, the weights of a classifier to initialize its backbone with.
    pub backbone: Option<StateDict>,
    /// The folder for all files of the run: `best.safetensors`, `last.safetensors`, `checkpoint.safetensors` and
    /// `metrics.jsonl`.
    pub folder: PathBuf,
    /// The name of the run.
    pub name: String,
    /// The identity of the run. Only a checkpoint with the same identity is resumed.
    pub recipe: Identity,
}

/// The result of a finished run.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub steps: u64,
    pub epochs: u64,
    pub best: Option<f64>,
    /// Whether the run ended early because the score had stopped improving.
    pub stopped_early: bool,
}

impl Trainer {
    /// Trains the network, resuming from the checkpoint in the folder if there is one, and calls `on_event`
    /// for each event.
    ///
    /// # Errors
    /// See [`FitError`]. The last checkpoint remains.
    pub fn fit(
        self,
        batches: &mut dyn Batches,
        evaluator: &mut dyn Evaluator,
        on_event: &mut dyn FnMut(&TrainingEvent),
    ) -> Result<Outcome, FitError> {
        fs::create_dir_all(&self.folder)
            .map_err(|source| FitError::Write { path: self.folder.clone(), source })?;
        let per_epoch = batches.per_epoch();
        if per_epoch == 0 {
            return Err(FitError::DataSetTooSmall);
        }
        TrainingLoop::start(self, per_epoch, on_event)?.run(batches, evaluator)
    }
}
