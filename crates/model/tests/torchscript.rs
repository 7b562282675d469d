//! TorchScript modules from their settings to detections, and errors for unsuitable modules.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::PathBuf};

use lookout_config::{Device, ModelSettings, OutputKind, Precision, TORCHSCRIPT};
use lookout_model::{Loaded, ModelError, RawInput, ScriptError, load, load_raw};
use lookout_schema::{Classification, Detection, Region, Size};
use lookout_stage::{DetectFrame, DetectionFilter, InferenceResult, Pixels, ResizeMode};
use tch::Tensor;

const INPUT: Size = Size { width: 160, height: 96 };

/// Returns the path of a file that `generate.py` wrote.
fn file(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/torchscript")).join(name)
}

fn settings(name: &str, output: OutputKind) -> ModelSettings {
    ModelSettings {
        device: Device::Cpu,
        output: Some(output),
        input: Some(INPUT),
        ..ModelSettings::named(TORCHSCRIPT, file(name).to_str().unwrap())
    }
}

fn boxes(name: &str) -> ModelSettings {
    settings(name, OutputKind::BoxesScoresLabels)
}

fn refused(settings: &ModelSettings) -> String {
    load(settings).unwrap_err().to_string()
}

/// Asserts that loading fails with an error that contains `parts`, on one line and without C++ details.
fn refused_with(settings: &ModelSettings, parts: &[&str]) {
    let error = refused(settings);
    assert!(parts.iter().all(|part| error.contains(part)), "{error}\nwanted {parts:?}");
    assert!(!error.contains("c10::") && !error.contains('\n'), "{error}");
}

/// Returns an image of one color.
fn image(size: Size, color: [u8; 3]) -> Pixels {
    Pixels::new(size, color.repeat((size.width * size.height) as usize)).unwrap()
}

/// Returns the results for images of these colors, from frames of twice the size of the input.
fn seen(loaded: &mut Loaded, colors: &[[u8; 3]], keep: &DetectionFilter) -> Vec<InferenceResult> {
    let source = Size { width: 2 * INPUT.width, height: 2 * INPUT.height };
    let placement = loaded.fit.place(source, INPUT);
    let images: Vec<Pixels> = colors.iter().map(|color| image(INPUT, *color)).collect();
    let frame = |pixels| DetectFrame { pixels, source, placement, keep };
    let frames: Vec<DetectFrame<'_>> = images.iter().map(frame).collect();
    loaded.detector.detect(&frames).unwrap().findings
}

fn summary(found: &Detection) -> (u32, &str, [f32; 4]) {
    (found.class_id, &found.label, found.bbox.into())
}

#[test]
fn logits_module_works_as_a_classifier() {
    let mut loaded = load(&ModelSettings { top_k: 2, ..settings("logits.pt", OutputKind::Logits) }).unwrap();
    assert!(matches!(loaded.fit, ResizeMode::CenterCrop { .. }));
    assert_eq!((loaded.info.arch.as_str(), loaded.info.precision.as_str()), ("torchscript", "fp32"));
    assert!(loaded.info.weights.starts_with("sha256:"));
    let findings = seen(&mut loaded, &[[255, 0, 0], [0, 0, 255]], DetectionFilter::all());
    let first = |findings: &InferenceResult| findings.classes[0].clone();
    assert_eq!(findings[0].classes.len(), 2);
    assert_eq!(
        (first(&findings[0]).label.as_str(), first(&findings[1]).label.as_str()),
        ("class 0", "class 2")
    );
    // The softmax of a red pixel after torchvision's normalization.
    let logits = [(1.0 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225_f64].map(f64::exp);
    let Classification { score, .. } = first(&findings[0]);
    assert!((f64::from(score) - logits[0] / logits.iter().sum::<f64>()).abs() < 1e-5, "{score}");
    loaded.warm_up(3).unwrap();
    assert!(loaded.detector.detect(&[]).unwrap().findings.is_empty());
}

#[test]
fn three_output_forms_give_boxes_in_source_pixels() {
    for name in ["dicts.pt", "tuples.pt", "batched.pt"] {
        let mut loaded = load(&boxes(name)).unwrap();
        assert_eq!(loaded.fit, ResizeMode::Letterbox);
        // The third box has a high score for white and a low one for black.
        let findings = seen(&mut loaded, &[[255; 3], [0; 3], [255; 3]], DetectionFilter::all());
        // The box without an area is dropped, and so are scores of at most 0.5.
        let low = (2, "class 2", [0.0, 40.0, 60.0, 80.0]);
        let third = (3, "class 3", [0.0, 0.0, 160.0, 96.0]);
        let all = |n: usize| findings[n].detections.iter().map(summary).collect::<Vec<_>>();
        assert_eq!(all(0), [third, low], "{name}");
        assert_eq!(all(1), [low], "{name}");
        let last = if name == "tuples.pt" { vec![] } else { vec![third, low] };
        assert_eq!(all(2), last, "{name}");
        loaded.warm_up(4).unwrap();
        assert!(loaded.detector.detect(&[]).unwrap().findings.is_empty());
    }
}

#[test]
fn detection_settings_are_applied() {
    let labels = tempfile::NamedTempFile::new().unwrap();
    fs::write(labels.path(), "__background__\nperson\ncar\n").unwrap();
    let all = ModelSettings {
        score_threshold: Some(0.0),
        labels: Some(labels.path().to_owned()),
        ..boxes("dicts.pt")
    };
    let names = |loaded: &mut Loaded, keep: &DetectionFilter| {
        let findings = seen(loaded, &[[255; 3]], keep);
        findings[0].detections.iter().map(|found| found.label.clone()).collect::<Vec<_>>()
    };
    let mut loaded = load(&all).unwrap();
    assert!(loaded.labels.has("car") && !loaded.labels.has("__background__"));
    // The labels file has no name for class 3.
    assert_eq!(names(&mut loaded, DetectionFilter::all()), ["car", "person"]);
    let right = Region::new(vec![[0.3, 0.0], [1.0, 0.0], [1.0, 1.0], [0.3, 1.0]]).unwrap();
    assert_eq!(
        names(&mut loaded, &DetectionFilter { regions: vec![right], classes: Vec::new() }),
        ["person"]
    );
    let cars = DetectionFilter { classes: vec!["car".into()], ..DetectionFilter::default() };
    assert_eq!(names(&mut loaded, &cars), ["car"]);
    let mut one = load(&ModelSettings { labels: None, max_detections: Some(1), ..all }).unwrap();
    // The detection with the highest score has no area inside the frame.
    assert!(names(&mut one, DetectionFilter::all()).is_empty());
}

#[test]
fn non_finite_boxes_and_unknown_labels_are_dropped() {
    let mut loaded = load(&boxes("strange.pt")).unwrap();
    assert!(
        seen(&mut loaded, &[[0; 3], [9; 3]], DetectionFilter::all())
            .iter()
            .all(|found| found.detections.is_empty())
    );
}

#[test]
fn missing_torchvision_operators_are_explained() {
    refused_with(&boxes("nms.pt"), &["nms.pt", "`torchvision::nms`", "libtorch does not have", "`arch`"]);
}

#[test]
fn module_output_is_checked_at_load() {
    let one = "[1, 3, 96, 160] of Float";
    refused_with(&boxes("logits.pt"), &[one, "returned [1, 3] of Float", "a list of N dicts", "`logits`"]);
    refused_with(
        &boxes("unbatched.pt"),
        &[one, "a tuple of 3 ([4, 4] of Float, [4] of Float, [4] of Int64)"],
    );
    refused_with(
        &boxes("pairs.pt"),
        &["a list of 1 (a dict {boxes: [1, 4] of Float, scores: [1] of Float})"],
    );
    refused_with(&boxes("shapes.pt"), &["([3, 4] of Float, [2] of Float, [3] of Int64)"]);
    refused_with(&boxes("floats.pt"), &["[1] of Float)", "labels of Int64"]);
    let logits = |name| settings(name, OutputKind::Logits);
    refused_with(
        &logits("dicts.pt"),
        &["a dict {boxes: [4, 4]", "one tensor [N, K]", "`boxes_scores_labels`"],
    );
    refused_with(&logits("raises.pt"), &[one, "shape '[7, 11]' is invalid"]);
}

#[test]
fn module_with_fixed_batch_size_is_an_error() {
    let mut loaded = load(&settings("batch_of_one.pt", OutputKind::Logits)).unwrap();
    loaded.warm_up(1).unwrap();
    let error = loaded.warm_up(2).unwrap_err().to_string();
    assert!(error.contains("returned [1, 3] of Float for `x` [2, 3, 96, 160]"), "{error}");
}

#[test]
fn files_that_are_not_modules_are_described() {
    let folder = tempfile::tempdir().unwrap();
    let written = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        ModelSettings { weights: path.to_str().unwrap().to_owned(), ..boxes("") }
    };
    refused_with(&boxes("none.pt"), &["cannot read the module", "none.pt"]);
    refused_with(&boxes(""), &["is not a file"]);
    refused_with(&boxes("state_dict.pth"), &["holds weights and no program", "torch.jit"]);
    let legacy = fs::read(file("../pth/block.legacy.pth")).unwrap();
    refused_with(&written("legacy.pt", &legacy), &["holds weights and no program"]);
    refused_with(&written("text.pt", b"not a module"), &["is not a TorchScript module"]);
    let module = fs::read(file("dicts.pt")).unwrap();
    refused_with(&written("half.pt", &module[..module.len() / 2]), &["its zip archive is damaged"]);
    let mut damaged = module;
    let program = damaged.windows(10).position(|bytes| bytes == b"def forwar").unwrap();
    damaged[program..program + 3].copy_from_slice(b"fed");
    refused_with(&written("damaged.pt", &damaged), &["libtorch cannot load the module"]);
    // The reverse: a module in place of the weights of a built-in network.
    let weights =
        ModelSettings { output: None, ..ModelSettings::named("resnet18", &boxes("dicts.pt").weights) };
    let error = chain(&load(&weights).unwrap_err());
    assert!(error.contains("`arch = \"torchscript\"`"), "{error}");
}

/// Returns the text of an error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(chain).unwrap_or_default();
    format!("{error}: {cause}")
}

#[test]
fn settings_that_modules_do_not_support_are_errors() {
    let base = boxes("dicts.pt");
    refused_with(&ModelSettings { output: None, ..base.clone() }, &["`output`", "`--output-kind`"]);
    refused_with(&ModelSettings { weights: "random:7".into(), ..base.clone() }, &["`random:7`", "a file"]);
    refused_with(&ModelSettings { precision: Precision::Bf16, ..base.clone() }, &["receives fp32"]);
    let unknown =
        load(&ModelSettings { arch: "vgg16".into(), weights: "random:7".into(), ..base }).unwrap_err();
    assert!(unknown.to_string().contains("runs other networks as `torchscript`"), "{unknown}");
}

#[test]
fn raw_outputs_are_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let [input, output] = ["x", "y"].map(|name| folder.path().join(name).with_extension("safetensors"));
    let x = Tensor::ones([2, 3, 96, 160], (tch::Kind::Float, tch::Device::Cpu));
    Tensor::write_safetensors(&[("x", &x)], &input).unwrap();
    let raw = |settings: &ModelSettings| {
        let network = load_raw(settings).unwrap();
        network.run_raw(&RawInput::read(&input).unwrap()).unwrap().write(&output).unwrap();
        Tensor::read_safetensors(&output).unwrap()
    };
    let named = raw(&boxes("batched.pt"));
    let part = |name: &str| &named.iter().find(|(found, _)| found == name).unwrap().1;
    assert_eq!(part("boxes").size(), [8, 4]);
    assert_eq!(Vec::<i64>::try_from(part("labels")).unwrap(), [1, 2, 3, 1, 1, 2, 3, 1]);
    assert_eq!(Vec::<i64>::try_from(part("image")).unwrap(), [0, 0, 0, 0, 1, 1, 1, 1]);
    assert_eq!(part("scores").size(), [8]);
    let named = raw(&settings("logits.pt", OutputKind::Logits));
    assert_eq!((named[0].0.as_str(), named[0].1.size()), ("logits", vec![2, 3]));
    let network = load_raw(&settings("raises.pt", OutputKind::Logits)).unwrap();
    let error = network.run_raw(&RawInput::read(&input).unwrap()).unwrap_err();
    assert!(matches!(error, ModelError::Script(ScriptError::Failed { .. })), "{error}");
}
