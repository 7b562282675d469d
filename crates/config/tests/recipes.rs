//! Recipes: the recipes in the repository are valid, and one invalid file per rule.

use std::{fs, path::Path};

use lookout_config::{ConfigError, RecipeSettings, Rule, parse_recipe};

const GOOD: &str = r#"name = "cells"
output = "runs/cells"

[model]
arch = "fcos_resnet50_fpn"
classes = ["red", "white"]

[data]
train = "voc:bccd"
train_split = "train"
val = "voc:bccd"
val_split = "val"

[train]
epochs = 10
batch = 4

[optimizer]
lr = 0.01

[schedule]
kind = "cosine"
"#;

fn read(text: &str) -> Result<RecipeSettings, ConfigError> {
    parse_recipe(Path::new("/recipes/cells.toml"), text, &|_| None)
}

/// `(text in the valid file, replacement, line of the error, key of the error, part of the message)`
const RULES: &[(&str, &str, usize, &str, &str)] = &[
    ("name = \"cells\"", "", 1, "name", "is required"),
    ("name = \"cells\"", "name = \"\"", 1, "name", "is empty"),
    ("output = \"runs/cells\"", "", 1, "output", "is required"),
    ("output = ", "outptu = \"\"\noutput = ", 2, "outptu", "did you mean `output`?"),
    ("\"fcos_resnet50_fpn\"", "\"torchscript\"", 5, "model.arch", "unknown value `torchscript`"),
    ("arch = \"fcos_resnet50_fpn\"\n", "", 4, "model.arch", "is required"),
    ("classes = [\"red\", \"white\"]\n", "", 4, "model.classes", "is required"),
    ("\"red\", \"white\"", "\"red\", \"red\"", 6, "model.classes", "is listed twice"),
    ("\"red\", \"white\"", "", 6, "model.classes", "the minimum is 1"),
    ("\"fcos_resnet50_fpn\"", "\"resnet18\"", 9, "data.train", "use `folder`"),
    (
        "[data]",
        "weights = \"a.pth\"\nbackbone = \"b.pth\"\n[data]",
        9,
        "model.backbone",
        "remove `weights` or `backbone`",
    ),
    ("[data]", "weights = \"random:1\"\n[data]", 8, "model.weights", "remove `weights`"),
    ("[data]", "input = \"640x380\"\n[data]", 8, "model.input", "multiples of 32"),
    ("[data]", "precision = \"fp16\"\n[data]", 8, "model.precision", "too small for gradients"),
    ("train = \"voc:bccd\"\n", "", 8, "data.train", "is required"),
    ("val = \"voc:bccd\"\n", "", 8, "data.val", "is required"),
    ("train = \"voc:bccd\"", "train = \"yolo:bccd\"", 9, "data.train", "KIND:PATH"),
    ("train = \"voc:bccd\"", "train = \"folder:bccd\"", 9, "data.train", "has no boxes"),
    ("epochs = 10\n", "", 14, "train.epochs", "is required"),
    ("batch = 4\n", "", 14, "train.batch", "is required"),
    ("epochs = 10", "epochs = 0", 15, "train.epochs", "is not between"),
    ("batch = 4", "batch = 4\nfreeze = 6", 17, "train.freeze", "is not between"),
    ("batch = 4", "batch = 4\nema = 1.0", 17, "train.ema", "is not between"),
    ("lr = 0.01\n", "", 18, "optimizer.lr", "is required"),
    ("lr = 0.01", "lr = 0.01\nkind = \"adamw\"\nmomentum = 0.9", 21, "optimizer.momentum", "remove it"),
    ("lr = 0.01", "lr = 0.01\nbeta1 = 0.9", 20, "optimizer.beta1", "remove it"),
    ("\"cosine\"", "\"cosine\"\ngamma = 0.1", 23, "schedule.gamma", "remove it"),
    ("\"cosine\"", "\"steps\"", 21, "schedule.at_epochs", "is required"),
    ("\"cosine\"", "\"steps\"\nat_epochs = [0]", 23, "schedule.at_epochs[0]", "a whole number"),
    ("[train]", "[augment]\nflip = 1.5\n[train]", 15, "augment.flip", "is not between"),
    ("[train]", "[augment]\ncrop_area = 0.5\n[train]", 15, "augment.crop_area", "for classifiers only"),
    ("[train]", "[augment]\nscale = [2.0, 1.0]\n[train]", 15, "augment.scale", "`[MIN, MAX]`"),
    ("[train]", "[augment]\njpeg_quality = [0, 1]\n[train]", 15, "augment.jpeg_quality", "`[MIN, MAX]`"),
    ("[schedule]", "[loss]\nlabel_smoothing = 0.1\n[schedule]", 21, "loss", "their papers' losses"),
];

#[test]
fn reports_each_mistake_at_its_line_and_key() {
    read(GOOD).unwrap();
    for (good, bad, line, key, what) in RULES {
        assert!(GOOD.contains(good), "{good}");
        let text = GOOD.replacen(good, bad, 1);
        let error = read(&text).expect_err(bad);
        let found =
            error.diagnostics.iter().any(|m| m.line == *line && m.key == *key && m.what.contains(what));
        assert!(found, "`{bad}`: line {line}, {key}, {what}\n{error}");
    }
}

#[test]
fn validates_the_loss_of_a_classifier() {
    let text = GOOD.replace("fcos_resnet50_fpn", "resnet18").replace("voc:", "folder:");
    let loss = |lines: &str| read(&format!("{text}\n[loss]\n{lines}\n"));
    assert_eq!(loss("kind = \"focal\"").unwrap().loss.focal_gamma, Some(2.0));
    for (lines, what) in [
        ("gamma = 2.0", "remove it"),
        ("class_weights = [1.0]", "1 weights for 2 classes"),
        ("class_weights = [1.0, 2.0]\nbalanced = true", "remove one of them"),
    ] {
        let error = loss(lines).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn applies_defaults_and_resolves_paths_from_the_file() {
    let recipe = read(GOOD).unwrap();
    assert_eq!(recipe.output, Path::new("/recipes/runs/cells"));
    assert_eq!(recipe.data.train.path, Path::new("/recipes/bccd"));
    assert_eq!(recipe.optimizer.rule, Rule::Sgd { momentum: 0.9, nesterov: false });
    assert_eq!((recipe.model.input.width, recipe.model.input.height), (640, 384));
}

#[test]
fn rejects_batch_norm_with_one_value_per_channel() {
    let small = |network: &str, train: &str| {
        let text = GOOD.replace("arch = \"fcos_resnet50_fpn\"", &format!("{network}\ninput = \"32x32\""));
        let text = text.replace("batch = 4", train);
        read(&if network.contains("resnet18") { text.replace("voc:", "folder:") } else { text })
    };
    for network in
        ["arch = \"resnet18\"", "arch = \"fcos_resnet50_fpn\"", "arch = \"retinanet_resnet50_fpn_v2\""]
    {
        let error = small(network, "batch = 1").unwrap_err().to_string();
        assert!(error.contains("train.batch") && error.contains("more than 1 value per channel"), "{error}");
        small(network, "batch = 2").unwrap();
        small(network, "batch = 1\nfreeze = 5").unwrap();
    }
    // Batch norm is frozen in this network.
    small("arch = \"fcos_resnet50_fpn\"\nweights = \"a.pth\"", "batch = 1").unwrap();
    let wider = GOOD.replace("[data]", "input = \"64x32\"\n[data]").replace("batch = 4", "batch = 1");
    read(&wider).unwrap();
}

#[test]
fn every_recipe_is_valid() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../recipes"));
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = fs::read_to_string(&path).unwrap();
            if let Err(error) = parse_recipe(&path, &text, &|_| Some("/data".into())) {
                panic!("{error}");
            }
            seen += 1;
        }
    }
    assert!(seen >= 3, "{seen} recipes in {}", folder.display());
}
