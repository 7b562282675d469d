//! The command line of `lookout`: help, errors, exit codes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, process::Command};

use lookout_tests::{
    isolation::lock_module,
    program::{lookout, run},
    video::clip,
};

/// Runs `lookout` with `args`; returns its exit code, standard output and standard error.
fn typed(args: &[&str]) -> (i32, String, String) {
    let output = run(args).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn every_subcommand_has_help() {
    let _module = lock_module(module_path!());
    let (code, help, _) = typed(&["--help"]);
    assert_eq!(code, 0);
    for verb in
        ["run", "check", "doctor", "infer", "tensor", "bench", "tail", "plan", "weights", "completions"]
    {
        assert!(help.contains(&format!("\n  {verb} ")), "{verb}: {help}");
        let (code, help, _) = typed(&[verb, "--help"]);
        assert_eq!(code, 0, "{verb}");
        assert!(help.contains(&format!("Usage: lookout {verb}")), "{verb}: {help}");
    }
}

#[test]
fn completions_contain_subcommands_and_options() {
    let _module = lock_module(module_path!());
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, _) = typed(&["completions", shell]);
        assert_eq!(code, 0);
        assert!(script.contains("doctor") && script.contains("until-end"), "{shell}");
    }
}

#[test]
fn the_lookout_program_links_neither_libtorch_nor_gstreamer() {
    let _module = lock_module(module_path!());
    let output = Command::new("ldd").arg(lookout().unwrap()).output().unwrap();
    let libraries = String::from_utf8(output.stdout).unwrap();
    assert!(libraries.contains("libc.so"), "{libraries}");
    assert!(!libraries.contains("torch") && !libraries.contains("libgst"), "{libraries}");
}

#[test]
fn all_errors_of_a_pipeline_file_are_reported_before_anything_starts() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrong.toml");
    let text =
        "name = \"x\"\n[model]\narch = \"resnet51\"\nweights = \"random:0\"\n[[camera]]\nid = \"a b\"\n";
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    for verb in ["check", "run", "doctor"] {
        let (code, out, err) = typed(&[verb, file]);
        assert_eq!((code, out.as_str()), (2, ""), "{verb}: {err}");
        let mistakes: Vec<&str> = err.lines().collect();
        assert_eq!(mistakes.len(), 3, "{verb}: {err}");
        assert!(mistakes[0].starts_with(&format!("{file}:3: model.arch: ")), "{verb}: {err}");
        assert!(mistakes.iter().any(|line| line.contains("camera[0].id: ")), "{verb}: {err}");
    }
    let (code, _, err) = typed(&["run", "/nowhere/pipeline.toml"]);
    assert_eq!(code, 2);
    assert!(err.contains("/nowhere/pipeline.toml"), "{err}");
}

#[test]
fn missing_weights_and_devices_are_input_errors() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pipeline.toml");
    let pipeline = |model: &str| {
        fs::write(
            &file,
            format!(
                "name = \"x\"\n[model]\narch = \"resnet18\"\n{model}\n[[camera]]\nid = \"a\"\nuri = \"{}\"\n",
                clip().display()
            ),
        )
        .unwrap();
        typed(&["run", file.to_str().unwrap()])
    };
    let (code, _, err) = pipeline("weights = \"none.safetensors\"");
    assert!(code == 2 && err.contains("none.safetensors"), "{code}: {err}");
    fs::write(folder.path().join("text.pth"), "not weights").unwrap();
    let (code, _, err) = pipeline("weights = \"text.pth\"");
    assert!(code == 2 && err.contains("text.pth"), "{code}: {err}");
    if !std::path::Path::new("/dev/nvidia0").exists() {
        let (code, _, err) = pipeline("weights = \"random:0\"\ndevice = \"cuda\"");
        assert!(code == 2 && err.contains("no GPU 0"), "{code}: {err}");
    }
}

#[test]
fn doctor_checks_all_cameras_and_kafka() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pipeline.toml");
    let camera = |id: &str, uri: &str| format!("[[camera]]\nid = \"{id}\"\nuri = \"{uri}\"\n");
    let good = camera("clip", &clip().display().to_string());
    let head = "name = \"x\"\n[model]\narch = \"resnet18\"\nweights = \"random:0\"\n";
    fs::write(&file, format!("{head}{good}")).unwrap();
    let (code, out, err) = typed(&["doctor", file.to_str().unwrap()]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("ok   camera clip: MPEG-4, 768x576, 10"), "{out}");
    let bad = camera("gone", "rtsp://127.0.0.1:1/cam");
    let kafka = "[kafka]\nbrokers = \"127.0.0.1:1\"\n";
    fs::write(&file, format!("{head}{kafka}{good}{bad}")).unwrap();
    let (code, out, err) = typed(&["doctor", file.to_str().unwrap(), "--timeout", "3"]);
    assert_eq!(code, 1, "{out}{err}");
    let bad: Vec<&str> = out.lines().filter(|line| line.starts_with("BAD")).collect();
    assert_eq!(bad.len(), 2, "{out}");
    assert!(bad[0].contains("nothing listens there") && bad[1].contains("camera gone"), "{out}");
}

#[test]
fn infer_prints_one_json_line_per_image() {
    let _module = lock_module(module_path!());
    let image = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/model/tests/goldens/street.png");
    let (code, out, err) = typed(&[
        "infer",
        image,
        "/nowhere.jpg",
        "--arch",
        "resnet18",
        "--weights",
        "random:0",
        "--top-k",
        "3",
    ]);
    assert_eq!(code, 1, "one of the two images is missing");
    assert!(err.contains("/nowhere.jpg"), "{err}");
    let seen: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(seen["image"], image);
    assert_eq!(seen["source"]["width"], 384);
    assert_eq!(seen["model"]["weights"], "random:0");
    assert_eq!(seen["classes"].as_array().unwrap().len(), 3);
}

#[test]
fn infer_supports_each_resize_mode() {
    let _module = lock_module(module_path!());
    let image = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/model/tests/goldens/street.png");
    let fitted = |more: &[&str]| {
        typed(
            &[&["infer", image, "--arch", "resnet18", "--weights", "random:0", "--resize-mode"], more]
                .concat(),
        )
    };
    for fit in ["letterbox", "center-crop", "stretch", "torchvision"] {
        let (code, _, err) = fitted(&[fit]);
        assert_eq!(code, 0, "{fit}: {err}");
    }
    let (code, _, err) = fitted(&["crop"]);
    assert!(code == 2 && err.contains("`center-crop`, `stretch`, `torchvision`"), "{code}: {err}");
    let (code, _, err) = fitted(&["torchvision", "--input", "640x384"]);
    assert!(code == 2 && err.contains("omit one of the two"), "{code}: {err}");
}

#[test]
fn infer_draws_detections_into_copies() {
    let _module = lock_module(module_path!());
    let image = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/model/tests/goldens/street.png");
    let folder = tempfile::tempdir().unwrap();
    let copies = folder.path().join("seen");
    let network = ["--arch", "resnet18", "--weights", "random:0"];
    let drawn = |copies: &str| typed(&[&["infer", image, image, "--draw", copies][..], &network].concat());
    let (code, out, err) = drawn(copies.to_str().unwrap());
    assert_eq!(code, 0, "{err}");
    for (line, name) in out.lines().zip(["street.png", "street-2.png"]) {
        let seen: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(seen["drawn"], copies.join(name).to_str().unwrap());
    }
    assert_eq!(fs::read_dir(&copies).unwrap().count(), 2);
    assert!(fs::read(copies.join("street.png")).unwrap() != fs::read(image).unwrap());

    let below_a_file = copies.join("street.png/below");
    let (code, out, err) = drawn(below_a_file.to_str().unwrap());
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    assert!(err.contains("cannot be created"), "{err}");
}

#[test]
fn infer_runs_torchscript_modules() {
    let _module = lock_module(module_path!());
    let models = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/model/tests");
    let image = format!("{models}/goldens/street.png");
    let module = |name: &str| format!("{models}/torchscript/{name}");
    let look = |name: &str, more: &[&str]| {
        let base = ["infer", &image, "--arch", "torchscript", "--weights", &module(name)].map(str::to_owned);
        let args: Vec<&str> = base.iter().map(String::as_str).chain(more.iter().copied()).collect();
        typed(&args)
    };
    let (code, out, err) =
        look("dicts.pt", &["--output-kind", "boxes_scores_labels", "--resize-mode", "stretch"]);
    assert_eq!(code, 0, "{err}");
    let seen: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(seen["detections"][0]["label"], "class 2", "{out}");
    let (code, _, err) = look("nms.pt", &["--output-kind", "boxes_scores_labels"]);
    assert!(code == 2 && err.contains("`torchvision::nms`"), "{code}: {err}");
    let (code, _, err) = look("dicts.pt", &[]);
    assert!(code == 2 && err.contains("--output-kind"), "{code}: {err}");
    let (code, _, err) = typed(&["infer", &image, "--output-kind", "logits"]);
    assert!(code == 2 && err.contains("--arch torchscript"), "{code}: {err}");
}

#[test]
fn bench_measures_each_batch_size() {
    let _module = lock_module(module_path!());
    let (code, out, _) = typed(&[
        "bench",
        "--arch",
        "resnet18",
        "--weights",
        "random:0",
        "--input",
        "64x64",
        "--batch",
        "1,2",
        "--precision",
        "fp32,bf16",
        "--seconds",
        "0.1",
        "--json",
    ]);
    assert_eq!(code, 0);
    let measured: serde_json::Value = serde_json::from_str(&out).unwrap();
    let results = measured["results"].as_array().unwrap();
    assert_eq!(results.len(), 4);
    assert!(results.iter().all(|result| result["images_per_s"].as_f64() > Some(0.0)), "{out}");
}

#[test]
fn plan_uses_a_profile_from_bench() {
    let _module = lock_module(module_path!());
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("profile.json");
    let profile = profile.to_str().unwrap();
    let network = ["--arch", "resnet18", "--weights", "random:0", "--input", "64x64"];
    let measure = ["--batch", "1,2", "--precision", "fp32", "--seconds", "0.1", "--profile", profile];
    let (code, _, err) = typed(&[&["bench"], &network[..], &measure[..]].concat());
    assert_eq!(code, 0, "{err}");
    let plan = |more: &[&str]| typed(&[&["plan", "--arch", "resnet18", "--profile", profile], more].concat());
    let (code, out, err) =
        plan(&["--cameras", "400", "--fps", "10", "--cores", "64", "--latency-ms", "10000", "--json"]);
    assert_eq!(code, 0, "{err}");
    let planned: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(planned["fleet"]["machines"].as_u64() > Some(0), "{out}");
    assert_eq!(planned["kafka"]["records_per_s"], 4000.0);
    assert!(
        planned["assumptions"].as_array().unwrap().iter().all(|each| each["source"].is_string()),
        "{out}"
    );
    let (code, out, _) = plan(&["--cameras", "1", "--fps", "1", "--cores", "64", "--latency-ms", "10000"]);
    assert!(code == 0 && out.contains("\npartitions ") && out.contains("\nAssumptions:\n- "), "{out}");
    let wrong: [(&[&str], &str); 5] = [
        (&["--cameras", "0", "--fps", "10"], "--cameras"),
        (&["--cameras", "1", "--fps", "nan"], "--fps"),
        (&["--cameras", "1", "--fps", "30"], "--stream-fps"),
        (&["--cameras", "1", "--fps", "1", "--latency-ms", "0.001"], "--latency-ms"),
        (&["--cameras", "1", "--fps", "1", "--precision", "bf16"], "--profile"),
    ];
    for (options, named) in wrong {
        let (code, out, err) = plan(options);
        assert!(code == 2 && out.is_empty() && err.contains(named), "{options:?}: {code} {err}");
    }
    let (code, _, err) =
        typed(&["plan", "--cameras", "1", "--fps", "1", "--arch", "resnet18", "--profile", "/nowhere"]);
    assert!(code == 2 && err.contains("/nowhere"), "{err}");
}

#[test]
fn a_log_that_is_not_on_a_terminal_has_no_color_codes() {
    let _module = lock_module(module_path!());
    for args in [
        &["tail", "--brokers", "127.0.0.1:1", "--until-end"][..],
        &["weights", "list"],
        &["infer", "--arch", "resnet18", "--weights", "random:0", "no-such-image.png"],
    ] {
        let mut command = Command::new(lookout().unwrap());
        let output = command.args(args).env("LOOKOUT_LOG", "trace").env_remove("NO_COLOR").output().unwrap();
        assert!(!output.stderr.contains(&0x1b), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
