//! `[train]`, `[optimizer]`, `[schedule]` and `[loss]`: settings of the training run.

use std::time::Duration;

use super::RecipeModel;
use crate::reader::Section;

/// Number of parts of the backbone that can be frozen: the stem and the four stages.
const PARTS: usize = 5;

/// `[train]`: settings of the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FitSettings {
    /// Number of epochs.
    pub epochs: u64,
    /// Images per batch.
    pub batch: usize,
    /// Gradient accumulation: number of batches per optimizer step.
    pub accumulate: u64,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Number of frozen backbone parts, from the input on: the stem, then the four stages.
    pub freeze: usize,
    /// Maximum norm of the gradient of a step; `None` for no clipping.
    pub clip_norm: Option<f64>,
    /// Decay of the exponential moving average of the weights; `None` for no average.
    pub ema: Option<f64>,
    /// Early stopping: number of evaluations without a better score after which the run ends.
    pub patience: Option<u64>,
    /// Epochs between evaluations.
    pub evaluate_every: u64,
    /// Time between checkpoints.
    pub checkpoint_every: Duration,
    /// Steps between lines in the log and in the metrics file.
    pub log_every: u64,
}

/// `[optimizer]`: settings of the optimizer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OptimizerSettings {
    /// The optimizer and its parameters.
    pub rule: Rule,
    /// The learning rate after the warm-up.
    pub lr: f64,
    /// Weight decay. It does not apply to normalization parameters and biases.
    pub weight_decay: f64,
    /// Factor on the learning rate of the backbone.
    pub backbone_lr: f64,
}

/// The update rules, with the parameter names of `torch.optim`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Stochastic gradient descent with momentum.
    Sgd {
        /// Momentum, 0 to 1.
        momentum: f64,
        /// Whether Nesterov momentum is used.
        nesterov: bool,
    },
    /// AdamW (Loshchilov and Hutter, 2019).
    AdamW {
        /// Decay rates of the two moment estimates, 0 to 1.
        betas: [f64; 2],
        /// Term added to the denominator for numerical stability.
        eps: f64,
    },
}

/// `[schedule]`: the learning-rate schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleSettings {
    /// How the learning rate changes after the warm-up.
    pub shape: Shape,
    /// Number of warm-up steps, in which the learning rate increases from the fraction `warm_up_from` of its
    /// value.
    pub warm_up_steps: u64,
    /// Fraction of the learning rate at the start of the warm-up, 0 to 1.
    pub warm_up_from: f64,
}

/// The shape of the learning-rate schedule after the warm-up.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// It stays the same.
    Constant,
    /// Decreases along half a cosine to the fraction `to` of the learning rate at the end of the run.
    Cosine {
        /// Fraction of the learning rate at the end, 0 to 1.
        to: f64,
    },
    /// Multiplies the learning rate by `gamma` after each of these epochs.
    Steps {
        /// The epochs, from 1.
        epochs: Vec<u64>,
        /// The factor at each of them.
        gamma: f64,
    },
}

/// `[loss]`: the loss of a classifier. Detectors use the losses of their papers.
#[derive(Debug, Clone, PartialEq)]
pub struct LossSettings {
    /// Gamma of the focal loss; `None` selects the cross-entropy loss.
    pub focal_gamma: Option<f64>,
    /// Label smoothing, 0 to 1.
    pub label_smoothing: f64,
    /// Weights of the classes in the loss.
    pub class_weights: ClassWeights,
}

/// Weights of the classes in the loss.
#[derive(Debug, Clone, PartialEq)]
pub enum ClassWeights {
    /// All classes have the same weight.
    Alike,
    /// Higher weights for rare classes.
    Balanced,
    /// The weights, in the order of the classes.
    Given(Vec<f64>),
}

impl Default for FitSettings {
    fn default() -> Self {
        Self {
            epochs: 12,
            batch: 8,
            accumulate: 1,
            seed: 0,
            freeze: 0,
            clip_norm: None,
            ema: None,
            patience: None,
            evaluate_every: 1,
            checkpoint_every: Duration::from_secs(300),
            log_every: 20,
        }
    }
}

impl Default for OptimizerSettings {
    fn default() -> Self {
        let rule = Rule::Sgd { momentum: 0.9, nesterov: false };
        Self { rule, lr: 0.01, weight_decay: 1e-4, backbone_lr: 1.0 }
    }
}

impl Default for ScheduleSettings {
    fn default() -> Self {
        Self { shape: Shape::Cosine { to: 0.0 }, warm_up_steps: 0, warm_up_from: 0.001 }
    }
}

impl Default for LossSettings {
    fn default() -> Self {
        Self { focal_gamma: None, label_smoothing: 0.0, class_weights: ClassWeights::Alike }
    }
}

impl FitSettings {
    pub(super) fn read(section: Section<'_, '_>, model: Option<&RecipeModel>) -> Self {
        let usual = Self::default();
        let count = |key, most, usual| section.integer(key, 1..=most).unwrap_or(usual);
        let settings = Self {
            epochs: count("epochs", 100_000, usual.epochs),
            batch: count("batch", 65_536, usual.batch as u64) as usize,
            accumulate: count("accumulate", 65_536, usual.accumulate),
            seed: section.integer("seed", 0..=u64::MAX).unwrap_or(usual.seed),
            freeze: section.integer("freeze", 0..=PARTS as u64).unwrap_or(0) as usize,
            clip_norm: section.number("clip_norm", 1e-6..=1e9),
            ema: section.number("ema", 0.0..=0.999_999_9),
            patience: section.integer("patience", 1..=100_000),
            evaluate_every: count("evaluate_every", 100_000, usual.evaluate_every),
            checkpoint_every: Duration::from_secs(60 * count("checkpoint_minutes", 1440, 5)),
            log_every: count("log_every", 1_000_000, usual.log_every),
        };
        section
            .need("epochs", "`epochs` is required in [train]: the number of passes over the training data");
        section.need("batch", "`batch` is required in [train]: the number of images per batch");
        if let Some(model) = model.filter(|_| section.has("batch"))
            && settings.batch == 1
            && settings.freeze < PARTS
            && model.learns_batch_norms()
            && model.deepest().width * model.deepest().height == 1
        {
            let what = format!(
                "batch norm needs more than 1 value per channel in training, and the last stage has only 1 for one \
                 image of {}x{}; set `batch` to 2 or more, or use a larger `input`",
                model.input.width, model.input.height
            );
            section.note("batch", what);
        }
        section.finish();
        settings
    }
}

impl OptimizerSettings {
    pub(super) fn read(section: Section<'_, '_>) -> Self {
        let usual = Self::default();
        let adamw = section.choice("kind", &[("sgd", false), ("adamw", true)]).unwrap_or(false);
        let of_other = |keys: &[&'static str], kind: &str| {
            for key in keys.iter().filter(|key| section.has(key)) {
                section.note(key, format!("this key is for `kind = \"{kind}\"` only; remove it"));
            }
        };
        let momentum = section.number("momentum", 0.0..=0.999_999).unwrap_or(0.9);
        let nesterov = section.boolean("nesterov").unwrap_or(false);
        let beta1 = section.number("beta1", 0.0..=0.999_999).unwrap_or(0.9);
        let beta2 = section.number("beta2", 0.0..=0.999_999).unwrap_or(0.999);
        let eps = section.number("eps", 1e-16..=1.0).unwrap_or(1e-8);
        let rule = if adamw {
            of_other(&["momentum", "nesterov"], "sgd");
            Rule::AdamW { betas: [beta1, beta2], eps }
        } else {
            of_other(&["beta1", "beta2", "eps"], "adamw");
            Rule::Sgd { momentum, nesterov }
        };
        let settings = Self {
            rule,
            lr: section.number("lr", 1e-12..=1e3).unwrap_or(usual.lr),
            weight_decay: section.number("weight_decay", 0.0..=1e3).unwrap_or(usual.weight_decay),
            backbone_lr: section.number("backbone_lr", 0.0..=1e3).unwrap_or(usual.backbone_lr),
        };
        section.need("lr", "`lr` is required in [optimizer]: the learning rate after the warm-up");
        section.finish();
        settings
    }
}

/// The values of `kind` in `[schedule]`.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Constant,
    Cosine,
    Steps,
}

impl ScheduleSettings {
    pub(super) fn read(section: Section<'_, '_>) -> Self {
        let usual = Self::default();
        let kinds = [("cosine", Kind::Cosine), ("steps", Kind::Steps), ("constant", Kind::Constant)];
        let kind = section.choice("kind", &kinds).unwrap_or(Kind::Cosine);
        let to = section.number("to", 0.0..=1.0).unwrap_or(0.0);
        let epochs = section.integers("at_epochs", 1..=100_000);
        let gamma = section.number("gamma", 0.0..=1.0).unwrap_or(0.1);
        for (key, of, name) in [
            ("to", Kind::Cosine, "cosine"),
            ("at_epochs", Kind::Steps, "steps"),
            ("gamma", Kind::Steps, "steps"),
        ] {
            if kind != of && section.has(key) {
                section.note(key, format!("this key is for `kind = \"{name}\"` only; remove it"));
            }
        }
        if kind == Kind::Steps {
            let what = "`at_epochs` is required: the epochs after which the learning rate is reduced";
            section.need("at_epochs", what);
        }
        let shape = match kind {
            Kind::Constant => Shape::Constant,
            Kind::Cosine => Shape::Cosine { to },
            Kind::Steps => Shape::Steps { epochs: epochs.unwrap_or_default(), gamma },
        };
        let settings = Self {
            shape,
            warm_up_steps: section.integer("warm_up_steps", 0..=10_000_000).unwrap_or(usual.warm_up_steps),
            warm_up_from: section.number("warm_up_from", 0.0..=1.0).unwrap_or(usual.warm_up_from),
        };
        section.finish();
        settings
    }
}

impl LossSettings {
    /// Reads the section; `classes` is the number of classes.
    pub(super) fn read(section: Section<'_, '_>, classes: usize) -> Self {
        let focal = section.choice("kind", &[("cross-entropy", false), ("focal", true)]).unwrap_or(false);
        let gamma = section.number("gamma", 0.0..=10.0);
        if !focal && gamma.is_some() {
            section.note("gamma", "this key is for `kind = \"focal\"` only; remove it");
        }
        let balanced = section.boolean("balanced").unwrap_or(false);
        let given = section.numbers("class_weights", 0.0..=1e6);
        if balanced && given.is_some() {
            section.note("balanced", "`balanced` and `class_weights` exclude each other; remove one of them");
        }
        if let Some(given) = given.as_ref().filter(|given| given.len() != classes) {
            let what = format!(
                "{} weights for {classes} classes; give one per class, in the order of `classes`",
                given.len()
            );
            section.note("class_weights", what);
        }
        let settings = Self {
            focal_gamma: focal.then_some(gamma.unwrap_or(2.0)),
            label_smoothing: section.number("label_smoothing", 0.0..=0.99).unwrap_or(0.0),
            class_weights: match given {
                Some(weights) => ClassWeights::Given(weights),
                None if balanced => ClassWeights::Balanced,
                None => ClassWeights::Alike,
            },
        };
        section.finish();
        settings
    }
}
