//! `docs/fine-tuning.md` on the blood cells, on a small scale: the recipe with fewer and smaller images, and
//! a pipeline with the trained detector.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path, time::Duration};

use lookout_tests::{
    isolation::lock_module,
    program::{Running, run},
};
use serde_json::Value;

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const PATIENCE: Duration = Duration::from_secs(600);

/// Returns the recipe with other lines; panics if one of the replaced lines is no longer in it.
fn recipe(changes: &[(&str, String)]) -> String {
    let mut text = fs::read_to_string(Path::new(REPOSITORY).join("recipes/bccd.toml")).unwrap();
    for (line, other) in changes {
        assert!(text.contains(line), "recipes/bccd.toml has no `{line}`");
        text = text.replace(line, other);
    }
    text
}

#[test]
fn fine_tuned_blood_cell_detector_runs_in_a_pipeline() {
    let _module = lock_module(module_path!());
    let data = Path::new(REPOSITORY).join("../shared/data/bccd");
    if !data.is_dir() {
        println!("skipped: {} does not exist", data.display());
        return;
    }
    let data = data.canonicalize().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bccd.toml");
    let text = recipe(&[
        ("voc:../data/BCCD_Dataset/BCCD", format!("voc:{}", data.display())),
        ("../models/", format!("{REPOSITORY}/models/")),
        ("../runs/bccd", "run".into()),
        ("_split = \"train\"", "_split = \"test\"".into()),
        ("_split = \"val\"", "_split = \"test\"".into()),
        ("\"320x256\"", "\"160x128\"".into()),
        ("\"480x384\"", "\"160x128\"".into()),
        ("epochs = 12", "epochs = 1\nlog_every = 1".into()),
        ("warm_up_steps = 50", "warm_up_steps = 2".into()),
    ]);
    fs::write(&file, text).unwrap();
    let trained = run(&["train", file.to_str().unwrap()]).unwrap();
    let stderr = String::from_utf8_lossy(&trained.stderr).into_owned();
    assert!(trained.status.success(), "{stderr}");
    assert!(stderr.contains("RBC: in 69 images, 805 objects"), "{stderr}");
    let lines = fs::read_to_string(folder.path().join("run/metrics.jsonl")).unwrap();
    let losses: Vec<f64> = lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).unwrap()["loss"].as_f64())
        .collect();
    assert_eq!(losses.len(), 72 / 8, "{lines}");
    assert!(losses[8] < 0.8 * losses[0], "{losses:?}");

    let run_folder = folder.path().join("run");
    let model = format!(
        "name = \"blood\"\n[model]\narch = \"fcos_resnet50_fpn\"\nweights = \"{0}/best.safetensors\"\n\
         labels = \"{0}/labels.txt\"\ninput = \"160x128\"\nscore_threshold = 0.01\n",
        run_folder.display()
    );
    let image = data.join("JPEGImages/BloodImage_00007.jpg");
    let camera = format!("[[camera]]\nid = \"microscope\"\nuri = \"{}\"", image.display());
    let ended = Running::start_with(&model, &camera).unwrap().finish(PATIENCE).unwrap();
    ended.summary.check().unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(ended.summary.cameras["microscope"].delivered, 1, "{}", ended.log);
}
