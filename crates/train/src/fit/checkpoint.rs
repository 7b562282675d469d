//! The checkpoint of a run, from which it continues as if it had never been stopped.
//!
//! It stores no state of a random number generator: the generators of a step and an epoch are seeded from the run's
//! seed and their numbers.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use lookout_model::weights::{self, StateDict};
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use super::{FitError, Identity, ema::Ema, optimizer::Optimizer};

/// The position of a run, with what is needed to resume its counters and its metrics, as in `TrainerState` of Hugging
/// Face's `transformers`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct TrainerState {
    /// Identifies the run by its recipe. A checkpoint of another run is rejected.
    #[serde(default)]
    pub(super) recipe: Identity,
    pub(super) epoch: u64,
    /// Number of processed batches of the epoch.
    pub(super) batch: u64,
    pub(super) step: u64,
    /// The bits of the best score as an `f64`, since a decimal text could lose its last digit.
    pub(super) best: Option<u64>,
    /// Number of evaluations since the best one.
    pub(super) since_best: u64,
    /// How long the run has trained, in milliseconds.
    pub(super) elapsed_ms: u64,
    /// Length of the metrics file at this point, in bytes.
    pub(super) metrics_bytes: u64,
}

/// Returns the path of the checkpoint in the run's folder.
pub(super) fn checkpoint_path(folder: &Path) -> PathBuf {
    folder.join("checkpoint.safetensors")
}

const NETWORK: &str = "network.";
const MOMENT: &str = "moment.";
const AVERAGE: &str = "average.";
const TRAINER_STATE: &str = "place";

/// Writes a checkpoint atomically: on failure, the previous one remains.
pub(super) fn write(
    folder: &Path,
    trainer_state: &TrainerState,
    optimizer: &Optimizer,
    ema: Option<&Ema>,
    name: &str,
) -> Result<(), FitError> {
    let file = checkpoint_path(folder);
    let mut tensors = BTreeMap::new();
    let mut add = |prefix: &str, named: BTreeMap<String, Tensor>| {
        tensors.extend(named.into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)));
    };
    add(NETWORK, optimizer.named(&optimizer.flat_tensors()));
    add(MOMENT, optimizer.moments());
    if let Some(ema) = ema {
        add(AVERAGE, optimizer.named(&ema.flat_tensors()));
    }
    let text = serde_json::to_vec(trainer_state)
        .map_err(|error| FitError::Write { path: file.clone(), source: error.into() })?;
    tensors.insert(TRAINER_STATE.to_owned(), Tensor::from_slice(&text));
    let state_dict = StateDict { tensors, digest: name.to_owned() };
    // The check comes before the write, so that the previous checkpoint remains and the run can be resumed from it.
    state_dict.check().map_err(|source| FitError::NonFiniteWeights { step: trainer_state.step, source })?;
    Ok(state_dict.write_safetensors(&file)?)
}

/// Restores the state from the checkpoint in `folder`. Returns `None` if there is no checkpoint.
pub(super) fn resume(
    folder: &Path,
    recipe: &Identity,
    optimizer: &mut Optimizer,
    ema: Option<&mut Ema>,
) -> Result<Option<TrainerState>, FitError> {
    let file = checkpoint_path(folder);
    if !file.exists() {
        return Ok(None);
    }
    let none = |what| FitError::InvalidCheckpoint { path: file.clone(), what };
    let mut tensors = weights::read(&file)?.tensors;
    let text =
        tensors.remove(TRAINER_STATE).and_then(|text| Vec::<u8>::try_from(&text.to_device(Device::Cpu)).ok());
    let trainer_state: Option<TrainerState> = text.and_then(|text| serde_json::from_slice(&text).ok());
    let trainer_state = trainer_state.ok_or_else(|| none("it does not contain the position of a run"))?;
    if trainer_state.recipe.is_empty() && !recipe.is_empty() {
        return Err(none("an earlier version of Lookout wrote it, which did not save the recipe's keys"));
    }
    let changed = recipe.changed_from(&trainer_state.recipe);
    if !changed.is_empty() {
        return Err(FitError::CheckpointMismatch { path: file, changed });
    }
    let mut take = |prefix: &str, named: BTreeMap<String, Tensor>| {
        let own = named.into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)).collect();
        let (part, rest) =
            std::mem::take(&mut tensors).into_iter().partition(|(name, _)| name.starts_with(prefix));
        tensors = rest;
        weights::apply(&own, StateDict { tensors: part, digest: String::new() })
    };
    take(NETWORK, optimizer.named(&optimizer.flat_tensors()))?;
    take(MOMENT, optimizer.moments())?;
    if let Some(ema) = ema {
        take(AVERAGE, optimizer.named(&ema.flat_tensors()))?;
        ema.set_updates(trainer_state.step);
    }
    optimizer.set_steps(i64::try_from(trainer_state.step).unwrap_or(i64::MAX));
    Ok(Some(trainer_state))
}
