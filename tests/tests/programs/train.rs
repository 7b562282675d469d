//! Runs `lookout sim dataset`, `lookout train`, `lookout eval` and `lookout infer` in sequence, as a user
//! does who trains a detector.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
};

use lookout_tests::{
    isolation::lock_module,
    program::{lookout, run},
};
use serde_json::Value;

/// A detector trained from random weights, on a few small images.
const RECIPE: &str = r#"
name = "small"
output = "run"

[model]
arch = "fcos_resnet50_fpn"
classes = ["person", "bicycle", "car", "truck"]
input = "96x64"
device = "cpu"

[data]
train = "coco:pictures"
val = "coco:pictures"
threads = 1

[augment]
mosaic = 0.5
jpeg = 0.5

[train]
epochs = 3
batch = 3
ema = 0.9
clip_norm = 10.0
log_every = 1

[optimizer]
kind = "adamw"
lr = 0.0005
"#;

fn done(args: &[&str]) -> Output {
    let output = run(args).unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Returns the loss of each step.
fn losses(folder: &Path) -> Vec<(u64, f64)> {
    let lines = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| Some((line["step"].as_u64()?, line["loss"].as_f64()?))).collect()
}

#[test]
fn a_detector_can_be_trained_resumed_evaluated_and_used() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let images = folder.join("pictures");
    done(&["sim", "dataset", text(&images), "--scenes", "3", "--images", "3", "--size", "192x128"]);
    let recipe = folder.join("small.toml");
    fs::write(&recipe, RECIPE).unwrap();

    let checked = done(&["train", text(&recipe), "--check"]);
    assert!(String::from_utf8_lossy(&checked.stderr).contains("images: 9"), "{checked:?}");
    assert!(!folder.join("run").exists(), "`--check` starts no run");

    // One run to the end, and one that is killed in its second epoch and resumed.
    done(&["train", text(&recipe)]);
    let whole = folder.join("whole");
    fs::rename(folder.join("run"), &whole).unwrap();
    let mut child = Command::new(lookout().unwrap())
        .args(["train", text(&recipe)])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("step 5/9")), "it did not reach step 5");
    child.kill().unwrap();
    child.wait().unwrap();
    done(&["train", text(&recipe)]);
    let run_folder = folder.join("run");
    assert_eq!(losses(&run_folder), losses(&whole), "the losses differ from those of the uninterrupted run");
    assert_eq!(losses(&whole).len(), 9);
    for name in ["best.safetensors", "last.safetensors", "curves.png", "labels.txt"] {
        assert!(run_folder.join(name).is_file(), "{name}");
    }

    // A recipe with another setting is another run.
    let other = folder.join("other.toml");
    fs::write(&other, RECIPE.replace("lr = 0.0005", "lr = 0.001")).unwrap();
    let refused = run(&["train", text(&other)]).unwrap();
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("`optimizer.lr` was 0.0005 and is 0.001 now") && stderr.contains("--restart"),
        "{stderr}"
    );

    let small = folder.join("small.safetensors");
    done(&[
        "weights",
        "import",
        text(&run_folder.join("best.safetensors")),
        "--int8",
        "--output",
        text(&small),
    ]);
    let size = |path: &Path| fs::metadata(path).unwrap().len();
    let (small_size, whole_size) = (size(&small), size(&run_folder.join("best.safetensors")));
    assert!(small_size * 3 < whole_size && small_size < 35 << 20, "{small_size} of {whole_size}");

    let labels = run_folder.join("labels.txt");
    let network = |weights: &Path| {
        [
            "--arch",
            "fcos_resnet50_fpn",
            "--labels",
            text(&labels),
            "--input",
            "96x64",
            "--weights",
            text(weights),
        ]
        .map(str::to_owned)
    };
    let data = format!("coco:{}", images.display());
    let report = folder.join("report");
    let eval = ["eval", "--data", &data, "--output", text(&report), "--json"];
    let network = network(&small);
    let network: Vec<&str> = network.iter().map(String::as_str).collect();
    let measured = done(&[&eval[..], &network].concat());
    let measured: Value = serde_json::from_slice(&measured.stdout).unwrap();
    assert_eq!(measured["coco"]["pictures"], 9);
    assert!(report.join("report.md").is_file() && report.join("precision.png").is_file());
    let image = images.join("images/000001.jpg");
    done(&[&["infer", text(&image)][..], &network].concat());
}

#[test]
fn errors_of_a_recipe_or_its_data_are_reported_before_the_run_starts() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("wrong.toml");
    for (good, bad, part) in [
        ("epochs = 3", "epochs = 0", "train.epochs"),
        ("coco:pictures", "coco:nowhere", "nowhere"),
        ("mosaic = 0.5", "mosaic = 1.5\ncrop_area = 0.5", "augment.crop_area"),
    ] {
        fs::write(&recipe, RECIPE.replacen(good, bad, 1)).unwrap();
        let output = run(&["train", text(&recipe)]).unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(part), "{stderr}");
        assert!(!folder.path().join("run").exists());
    }
    for (args, part) in [
        (&["eval", "--data", "yolo:x"][..], "KIND:PATH"),
        (&["eval"], "--data"),
        (&["eval", "--end-to-end", "--arch", "resnet50"], "measures detectors"),
    ] {
        let output = run(args).unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(part), "{args:?}: {stderr}");
    }
}
