//! Creation of a trainer from a recipe.

use std::{fs, path::Path};

use lookout_config::{
    ClassWeights, LossSettings, Precision as PrecisionSetting, RecipeModel, RecipeSettings,
};
use lookout_model::{
    ModelError, Network, Precision, Target,
    archs::{ArchSpec, fetch_torchvision},
    weights::{self, StateDict},
};
use tch::Tensor;

use super::{FitError, Identity, Trainer};
use crate::{ClassLoss, ClassLossKind};

/// torchvision's name of the background, which is the first output of a detector.
const BACKGROUND: &str = "__background__";

/// Returns the device and precision of `model`. Training does not use fp16, which would need loss scaling: where `auto`
/// chooses it for a GPU without native bf16, this returns fp32.
fn target(model: &RecipeModel) -> Result<Target, ModelError> {
    let target = Target::choose(model.device, model.precision)?;
    match target.precision() {
        Precision::Fp16 => Target::choose(model.device, PrecisionSetting::Fp32),
        Precision::Fp32 | Precision::Bf16 => Ok(target),
    }
}

impl Trainer {
    /// Creates the trainer of a recipe. Reads its weights, or downloads them if they are torchvision's. `counts` is the
    /// number of images per class, from which a balanced loss computes the class weights.
    ///
    /// # Errors
    /// Returns an error if the weights cannot be loaded or the device is not available.
    pub fn from_recipe(recipe: &RecipeSettings, counts: &[usize]) -> Result<Self, FitError> {
        let model = &recipe.model;
        let state_dict = |key, text: &Option<String>, arch: &str| {
            let state_dict = text.as_deref().map(|text| read_state_dict(text, arch)).transpose();
            state_dict.map_err(|source| FitError::InitialWeights { key, source: Box::new(source) })
        };
        let own = model.classes.len() as i64;
        let backbone = ArchSpec::from_name(&model.arch)?.backbone().unwrap_or(&model.arch);
        Ok(Self {
            arch: model.arch.clone(),
            classes: if model.is_classifier() { own } else { own + 1 },
            target: target(model)?,
            fit: recipe.fit,
            optimizer: recipe.optimizer,
            schedule: recipe.schedule.clone(),
            class_loss: class_loss(&recipe.loss, counts),
            weights: state_dict("weights", &model.weights, &model.arch)?,
            backbone: state_dict("backbone", &model.backbone, backbone)?,
            folder: recipe.output.clone(),
            name: recipe.name.clone(),
            recipe: Identity::of(recipe),
        })
    }

    /// Writes the names of the network's outputs to `labels.txt`, one per line, in the format of the key `labels` of a
    /// pipeline file.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written.
    pub fn write_labels(&self, classes: &[String]) -> Result<(), FitError> {
        let path = self.folder.join("labels.txt");
        let background = (classes.len() as i64 != self.classes).then_some(BACKGROUND);
        let lines = background.into_iter().chain(classes.iter().map(String::as_str));
        let text: String = lines.flat_map(|line| [line, "\n"]).collect();
        fs::create_dir_all(&self.folder)
            .and_then(|()| fs::write(&path, text))
            .map_err(|source| FitError::Write { path, source })
    }
}

fn read_state_dict(text: &str, arch: &str) -> Result<StateDict, ModelError> {
    let path = match text {
        "torchvision" => fetch_torchvision(arch, &weights::cache_dir()?)?,
        _ => Path::new(text).to_owned(),
    };
    Ok(Network::found_in(arch, weights::read(&path)?)?.0)
}

fn class_loss(settings: &LossSettings, counts: &[usize]) -> ClassLoss {
    let weights = match &settings.class_weights {
        ClassWeights::Alike => None,
        ClassWeights::Given(weights) => Some(weights.clone()),
        ClassWeights::Balanced => Some(balanced(counts)),
    };
    let weights =
        weights.map(|weights| weights.into_iter().map(|weight| weight as f32).collect::<Vec<f32>>());
    ClassLoss {
        kind: settings
            .focal_gamma
            .map_or(ClassLossKind::CrossEntropy, |gamma| ClassLossKind::Focal { gamma }),
        label_smoothing: settings.label_smoothing,
        weights: weights.map(|weights| Tensor::from_slice(&weights)),
    }
}

/// Returns class weights under which all classes contribute the same to the loss. A class without images is weighted as
/// if it had one.
fn balanced(counts: &[usize]) -> Vec<f64> {
    let all: usize = counts.iter().sum();
    counts.iter().map(|count| all as f64 / (counts.len() * (*count).max(1)) as f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_classes_have_higher_weights() {
        assert_eq!(balanced(&[30, 10]), [40.0 / 60.0, 2.0]);
        assert_eq!(balanced(&[4, 0]), [0.5, 2.0]);
    }
}
