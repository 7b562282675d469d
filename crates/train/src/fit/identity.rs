//! The identity of a run: the keys of its recipe that affect the result. Only a checkpoint with the same identity is
//! resumed.

use std::{collections::BTreeMap, fmt::Debug, path::Path};

use lookout_config::{ClassWeights, RecipeSettings, Rule, Shape, SourceSettings};
use serde::{Deserialize, Serialize};

/// The keys of a recipe that affect the result of a run, with their values as text.
///
/// The keys for the number of epochs, the evaluations and the output are not included, so `epochs` may be raised at any
/// time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Identity(BTreeMap<String, String>);

/// A key whose value differs from the one in a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub key: String,
    pub before: String,
    pub now: String,
}

/// The text for a key without a value.
const NOT_SET: &str = "not set";

impl Identity {
    /// Returns the identity of a recipe.
    pub fn of(recipe: &RecipeSettings) -> Self {
        let RecipeSettings { name: _, output: _, model, data, augment, fit, optimizer, schedule, loss } =
            recipe;
        let mut keys = Self::default();
        keys.set("model.arch", &model.arch);
        keys.set("model.classes", &model.classes);
        keys.option("model.weights", model.weights.as_ref());
        keys.option("model.backbone", model.backbone.as_ref());
        keys.text("model.input", format!("{}x{}", model.input.width, model.input.height));
        keys.source("data.train", &data.train);
        keys.source("data.val", &data.val);
        keys.option("data.val_input", data.val_input.map(|size| format!("{}x{}", size.width, size.height)));
        keys.set("data.balanced", data.balanced);
        keys.text("data.exif_orientation", format!("{:?}", data.exif_orientation.as_str()));
        keys.set("augment.flip", augment.flip);
        keys.set("augment.overlap_crop", augment.overlap_crop);
        keys.option("augment.scale", augment.scale);
        keys.option("augment.crop_area", augment.crop_area);
        keys.set("augment.color", augment.color);
        keys.set("augment.brightness", augment.brightness);
        keys.set("augment.contrast", augment.contrast);
        keys.set("augment.saturation", augment.saturation);
        keys.set("augment.hue", augment.hue);
        keys.set("augment.mosaic", augment.mosaic);
        keys.set("augment.mixup", augment.mixup);
        keys.set("augment.mixup_alpha", augment.mixup_alpha);
        keys.set("augment.jpeg", augment.jpeg);
        keys.set("augment.jpeg_quality", augment.jpeg_quality);
        keys.set("train.batch", fit.batch);
        keys.set("train.accumulate", fit.accumulate);
        keys.set("train.seed", fit.seed);
        keys.set("train.freeze", fit.freeze);
        keys.option("train.clip_norm", fit.clip_norm);
        keys.option("train.ema", fit.ema);
        match optimizer.rule {
            Rule::Sgd { momentum, nesterov } => {
                keys.set("optimizer.kind", "sgd");
                keys.set("optimizer.momentum", momentum);
                keys.set("optimizer.nesterov", nesterov);
            }
            Rule::AdamW { betas: [beta1, beta2], eps } => {
                keys.set("optimizer.kind", "adamw");
                keys.set("optimizer.beta1", beta1);
                keys.set("optimizer.beta2", beta2);
                keys.set("optimizer.eps", eps);
            }
        }
        keys.set("optimizer.lr", optimizer.lr);
        keys.set("optimizer.weight_decay", optimizer.weight_decay);
        keys.set("optimizer.backbone_lr", optimizer.backbone_lr);
        match &schedule.shape {
            Shape::Constant => keys.set("schedule.kind", "constant"),
            Shape::Cosine { to } => {
                keys.set("schedule.kind", "cosine");
                keys.set("schedule.to", to);
            }
            Shape::Steps { epochs, gamma } => {
                keys.set("schedule.kind", "steps");
                keys.set("schedule.at_epochs", epochs);
                keys.set("schedule.gamma", gamma);
            }
        }
        keys.set("schedule.warm_up_steps", schedule.warm_up_steps);
        keys.set("schedule.warm_up_from", schedule.warm_up_from);
        keys.option("loss.gamma", loss.focal_gamma);
        keys.set("loss.label_smoothing", loss.label_smoothing);
        match &loss.class_weights {
            ClassWeights::Alike => {}
            ClassWeights::Balanced => keys.set("loss.balanced", true),
            ClassWeights::Given(weights) => keys.set("loss.class_weights", weights),
        }
        keys
    }

    /// Sets the value of a key.
    pub fn set(&mut self, key: &str, value: impl Debug) {
        self.text(key, format!("{value:?}"));
    }

    fn option(&mut self, key: &str, value: Option<impl Debug>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }

    fn text(&mut self, key: &str, text: String) {
        self.0.insert(key.to_owned(), text);
    }

    fn source(&mut self, key: &str, source: &SourceSettings) {
        let path: &Path = &source.path;
        self.text(key, format!("\"{}:{}\"", source.kind, path.display()));
        self.option(&format!("{key}_split"), source.split.as_ref());
    }

    /// Returns whether it has no keys, as in a checkpoint that an earlier version of Lookout wrote.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the keys whose values differ from those in `before`, sorted by name.
    pub fn changed_from(&self, before: &Self) -> Vec<Changed> {
        let value = |keys: &Self, key: &String| keys.0.get(key).map_or(NOT_SET, String::as_str).to_owned();
        let mut names: Vec<&String> = self.0.keys().chain(before.0.keys()).collect();
        names.sort();
        names.dedup();
        let changed =
            |key: &String| Changed { key: key.clone(), before: value(before, key), now: value(self, key) };
        names.into_iter().map(changed).filter(|changed| changed.before != changed.now).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_keys_are_listed_with_both_values() {
        let mut before = Identity::default();
        before.set("optimizer.lr", 0.0005);
        before.set("train.batch", 8);
        before.option("train.ema", Some(0.9));
        let mut now = Identity::default();
        now.set("optimizer.lr", 0.001);
        now.set("train.batch", 8);
        now.option("model.weights", Some("a.pth"));
        let changed = |key: &str, before: &str, now: &str| Changed {
            key: key.into(),
            before: before.into(),
            now: now.into(),
        };
        let all = [
            changed("model.weights", NOT_SET, "\"a.pth\""),
            changed("optimizer.lr", "0.0005", "0.001"),
            changed("train.ema", "0.9", NOT_SET),
        ];
        assert_eq!(now.changed_from(&before), all);
        assert_eq!(now.changed_from(&now.clone()), []);
    }
}
