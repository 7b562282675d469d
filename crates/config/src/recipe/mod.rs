//! Recipes: configuration files of training runs.

mod augment;
mod data;
mod fit;

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
};

use lookout_schema::Size;

pub use self::{
    augment::AugmentSettings,
    data::{DATA_KINDS, DataSettings, ExifOrientation, SourceSettings},
    fit::{ClassWeights, FitSettings, LossSettings, OptimizerSettings, Rule, ScheduleSettings, Shape},
};
use crate::{
    ConfigError, Device, Precision, ReadError,
    archs::{Arch, BatchNorms, Task, arch_names, is_arch_of},
    document::parse_with,
    expand::Env,
    input_size,
    model::weights,
    reader::{Section, not_one_of},
};

/// A valid recipe.
#[derive(Debug, Clone, PartialEq)]
pub struct RecipeSettings {
    /// Name of the recipe.
    pub name: String,
    /// Folder for the output files of the run.
    pub output: PathBuf,
    /// `[model]`: the network.
    pub model: RecipeModel,
    /// `[data]`.
    pub data: DataSettings,
    /// `[augment]`.
    pub augment: AugmentSettings,
    /// `[train]`.
    pub fit: FitSettings,
    /// `[optimizer]`.
    pub optimizer: OptimizerSettings,
    /// `[schedule]`.
    pub schedule: ScheduleSettings,
    /// `[loss]`.
    pub loss: LossSettings,
}

/// `[model]` of a recipe: the network that is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct RecipeModel {
    /// The name of one of [`crate::ARCHS`].
    pub arch: String,
    /// Class names in the order of the network's outputs, without a background class.
    pub classes: Vec<String>,
    /// Initial weights of the whole network: `torchvision` or a path.
    pub weights: Option<String>,
    /// For detectors, initial weights of the backbone, from a classifier: `torchvision` or a path.
    pub backbone: Option<String>,
    /// Input size for training.
    pub input: Size,
    /// The device on which the network is trained.
    pub device: Device,
    /// The number format of the forward pass.
    pub precision: Precision,
}

impl RecipeModel {
    /// Returns whether the network is a classifier.
    pub fn is_classifier(&self) -> bool {
        is_arch_of(&self.arch, Task::Classification)
    }

    /// Returns whether batch norm is trained, with the statistics of each batch: in classifiers, in the `_v2`
    /// detectors, and in detectors that start from random weights. The other detectors keep it frozen.
    fn learns_batch_norms(&self) -> bool {
        let at_random = self.weights.is_none() && self.backbone.is_none();
        let trained = |arch: &Arch| arch.batch_norms == BatchNorms::Trained;
        at_random || Arch::from_name(&self.arch).is_some_and(trained)
    }

    /// Returns the size of the feature map after the last stage of a ResNet: the input size, halved five
    /// times and rounded up.
    fn deepest(&self) -> Size {
        Size { width: self.input.width.div_ceil(32), height: self.input.height.div_ceil(32) }
    }
}

/// Reads a recipe file. Variables are expanded from the environment of the process.
pub fn read_recipe(file: &Path) -> Result<RecipeSettings, ReadError> {
    let text = fs::read_to_string(file).map_err(|source| ReadError::Io { file: file.to_owned(), source })?;
    Ok(parse_recipe(file, &text, &|name| env::var(name).ok())?)
}

/// Parses the text of a recipe. Relative paths in it are relative to the file's folder. `env` returns the
/// value of an environment variable.
///
/// # Errors
/// Returns all errors of the file.
pub fn parse_recipe(
    file: &Path,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<RecipeSettings, ConfigError> {
    parse_with(file, text, env as Env<'_>, RecipeSettings::read)
}

impl RecipeSettings {
    fn read(root: Section<'_, '_>, base: &Path) -> Option<Self> {
        let name = root.text("name");
        root.need("name", "`name` is required: the name of this run");
        if name.as_deref() == Some("") {
            root.note("name", "the name is empty");
        }
        let output = root.text("output").map(|path| base.join(path));
        root.need("output", "`output` is required: the folder for weights, checkpoints and metrics");
        let model = RecipeModel::read(root.section("model"), base);
        let data = DataSettings::read(root.section("data"), base, model.as_ref());
        let classifier = model.as_ref().is_some_and(RecipeModel::is_classifier);
        let augment = AugmentSettings::read(root.section("augment"), classifier);
        let fit = FitSettings::read(root.section("train"), model.as_ref());
        let optimizer = OptimizerSettings::read(root.section("optimizer"));
        let schedule = ScheduleSettings::read(root.section("schedule"));
        if root.has("loss") && model.as_ref().is_some_and(|model| !model.is_classifier()) {
            root.note(
                "loss",
                "this is for classifiers only, detectors have their papers' losses; remove [loss]",
            );
        }
        let classes = model.as_ref().map_or(0, |model| model.classes.len());
        let loss = LossSettings::read(root.section("loss"), classes);
        root.finish();
        Some(Self {
            name: name?,
            output: output?,
            model: model?,
            data: data?,
            augment,
            fit,
            optimizer,
            schedule,
            loss,
        })
    }
}

/// Parses an input size. Sides of a detector's input must be multiples of 32.
fn input(section: &Section<'_, '_>, key: &'static str, text: &str, classifier: bool) -> Option<Size> {
    let input = input_size(text).map_err(|what| section.note(key, what)).ok()?;
    if !(classifier || input.width.is_multiple_of(32) && input.height.is_multiple_of(32)) {
        section.note(key, "the sides of a detector's input must be multiples of 32, such as `640x384`");
    }
    Some(input)
}

impl RecipeModel {
    fn read(section: Section<'_, '_>, base: &Path) -> Option<Self> {
        let arch = section.text("arch");
        if let Some(arch) = arch.as_deref().filter(|arch| Arch::from_name(arch).is_none()) {
            section.note("arch", not_one_of(arch, arch_names()));
        }
        let task = match arch.as_deref().and_then(Arch::from_name) {
            Some(arch) => arch.task,
            None => Task::Detection,
        };
        let classifier = task == Task::Classification;
        let classes = section.texts("classes");
        if let Some(classes) = &classes {
            let mut seen = BTreeSet::new();
            if let Some(twice) = classes.iter().find(|class| !seen.insert(class.as_str())) {
                section.note("classes", format!("`{twice}` is listed twice; each class needs its own name"));
            }
            let least = if classifier { 2 } else { 1 };
            if classes.len() < least {
                section.note("classes", format!("too few classes; the minimum is {least}"));
            }
        }
        let whole = section.text("weights").map(|text| weights(&section, text, base));
        let backbone = section.text("backbone").map(|text| weights(&section, text, base));
        match (&whole, &backbone, classifier) {
            (Some(_), Some(_), _) => section
                .note("backbone", "`weights` already include the backbone; remove `weights` or `backbone`"),
            (None, Some(_), true) => section.note(
                "backbone",
                "a classifier has no separate backbone; use `weights`, or remove `backbone`",
            ),
            _ => {}
        }
        for (key, text) in [("weights", &whole), ("backbone", &backbone)] {
            if text.iter().flatten().any(|text| text.starts_with("random:")) {
                section.note(key, format!("random weights are the default; remove `{key}`"));
            }
        }
        let input = section.text("input").and_then(|text| input(&section, "input", &text, classifier));
        let input = input.unwrap_or(task.default_input());
        let device = section.parsed("device").unwrap_or(Device::Auto);
        let precision = section.parsed("precision").unwrap_or(Precision::Fp32);
        if precision == Precision::Fp16 {
            section.note("precision", "the range of fp16 is too small for gradients; use bf16, fp32 or auto");
        }
        section.need("arch", "`arch` is required in [model]");
        section.need("classes", "`classes` is required in [model]: the class names, `[\"a\", \"b\"]`");
        section.finish();
        let whole = match whole {
            Some(whole) => Some(whole?),
            None => None,
        };
        let backbone = match backbone {
            Some(backbone) => Some(backbone?),
            None => None,
        };
        Some(Self { arch: arch?, classes: classes?, weights: whole, backbone, input, device, precision })
    }
}
