//! Recipes: how a network is trained. TOML to validated settings, as a pipeline file.

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
    expand::Env,
    file::parse_with,
    input_size,
    model::weights,
    reader::{Section, not_one_of},
};

/// A valid recipe.
#[derive(Debug, Clone, PartialEq)]
pub struct RecipeSettings {
    pub name: String,
    /// Where all goes that the run leaves.
    pub output: PathBuf,
    pub model: RecipeModel,
    pub data: DataSettings,
    pub augment: AugmentSettings,
    pub fit: FitSettings,
    pub optimizer: OptimizerSettings,
    pub schedule: ScheduleSettings,
    pub loss: LossSettings,
}

/// `[model]` of a recipe: the network to be trained.
#[derive(Debug, Clone, PartialEq)]
pub struct RecipeModel {
    /// The name of one of [`crate::ARCHS`].
    pub arch: String,
    /// What there is to tell apart, in the order of the network's outputs; the background is none of them.
    pub classes: Vec<String>,
    /// A whole network's weights to begin with, as in a pipeline file.
    pub weights: Option<String>,
    /// Of a detector, a classifier's weights to begin with: `torchvision` or a path.
    pub backbone: Option<String>,
    /// What the network is trained on.
    pub input: Size,
    pub device: Device,
    pub precision: Precision,
}

impl RecipeModel {
    /// Whether the network names a whole picture's classes and finds no boxes.
    pub fn is_classifier(&self) -> bool {
        is_arch_of(&self.arch, Task::Classification)
    }

    /// Whether batch norms take a batch's own statistics in training: a classifier's, and those of a detector that
    /// begins at random or is of the newer designs. The others keep their norms as they are.
    fn learns_batch_norms(&self) -> bool {
        let at_random = self.weights.is_none() && self.backbone.is_none();
        let trained = |arch: &Arch| arch.batch_norms == BatchNorms::Trained;
        at_random || Arch::from_name(&self.arch).is_some_and(trained)
    }

    /// The size of the input behind the last stage of a ResNet, which halves it five times, rounding up.
    fn deepest(&self) -> Size {
        Size { width: self.input.width.div_ceil(32), height: self.input.height.div_ceil(32) }
    }
}

/// Reads a recipe from a file, with the variables of this process's environment.
pub fn read_recipe(file: &Path) -> Result<RecipeSettings, ReadError> {
    let text = fs::read_to_string(file).map_err(|source| ReadError::Io { file: file.to_owned(), source })?;
    Ok(parse_recipe(file, &text, &|name| env::var(name).ok())?)
}

/// Reads a recipe. Relative paths in it start from the file's folder; `env` gives the value of an environment
/// variable.
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

/// A network's input by its text.
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
