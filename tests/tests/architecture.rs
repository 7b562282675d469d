//! Arrows between crates go one way: a crate may use those that ARCHITECTURE.md allows it, and no giant
//! dependency has a second door.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

/// Each crate and the crates of this workspace that it may use, from the bottom up.
const ALLOWED: [(&str, &[&str]); 23] = [
    ("features", &[]),
    ("schema", &[]),
    ("wire", &["schema"]),
    ("config", &["schema"]),
    ("stage", &["schema"]),
    ("args", &["config"]),
    ("fused", &[]),
    ("model", &["schema", "config", "stage", "fused"]),
    ("ingest", &["schema", "config", "stage"]),
    ("batch", &["schema", "stage"]),
    ("infer", &["schema", "stage", "batch"]),
    ("broker", &["schema", "wire", "config", "stage"]),
    ("web", &[]),
    ("worker", &["schema", "config", "stage", "args", "model", "ingest", "batch", "infer", "broker", "web"]),
    ("track", &["schema"]),
    ("adas", &["schema", "config", "broker", "track", "web"]),
    ("monitor", &["schema", "config", "broker", "web", "track"]),
    ("sim", &["schema", "args"]),
    ("draw", &["schema", "stage"]),
    ("measure", &["schema", "stage", "draw"]),
    ("train", &["schema", "config", "stage", "model", "draw", "measure"]),
    ("lab", &["schema", "config", "stage", "args", "model", "batch", "infer", "draw", "measure", "train"]),
    ("cli", &["schema", "config", "args", "broker", "track", "monitor", "adas", "draw", "measure"]),
];

/// Each giant and the crates that may use it.
const DOORS: [(&str, &[&str]); 14] = [
    ("tch", &["model", "fused", "train"]),
    ("torch-sys", &["fused"]),
    ("gstreamer", &["ingest", "sim"]),
    ("gstreamer-app", &["ingest", "sim"]),
    ("gstreamer-video", &["ingest"]),
    ("gstreamer-sdp", &["ingest"]),
    ("gio", &["ingest"]),
    ("gstreamer-rtsp-server", &["sim"]),
    ("rdkafka", &["broker"]),
    ("openssl", &["broker"]),
    ("hyper", &["web"]),
    ("axum", &["monitor"]),
    ("rusqlite", &["monitor"]),
    ("clap", &["args", "worker", "sim", "lab", "cli"]),
];

/// A crate whose integration tests are one program lists their files in `tests/main.rs`.
#[test]
fn every_file_of_integration_tests_is_compiled() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let mut missing = Vec::new();
    for package in &metadata.packages {
        let Some(folder) = package.manifest_path.parent().map(|folder| folder.join("tests")) else {
            continue;
        };
        let listed = fs::read_to_string(folder.join("main.rs")).unwrap_or_default();
        let targets: BTreeSet<_> = package.targets.iter().map(|target| target.src_path.as_str()).collect();
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            let name = path.file_stem().unwrap().to_str().unwrap();
            let is_listed = listed.lines().any(|line| line == format!("mod {name};"));
            let is_source = path.extension().is_some_and(|extension| extension == "rs");
            if is_source && !is_listed && !targets.contains(path.to_str().unwrap()) {
                missing.push(path);
            }
        }
    }
    assert!(missing.is_empty(), "in no test program: {missing:?}");
}

#[test]
fn crates_use_what_they_may_and_giants_have_one_door() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into();
    let mut seen = BTreeSet::new();
    for package in &metadata.packages {
        let Some(name) = package.name.strip_prefix("lookout-").filter(|name| *name != "tests") else {
            continue;
        };
        if name == "features" {
            // It has no code, and names any dependency whose features differ between crates.
            seen.insert(name);
            continue;
        }
        let may = allowed.get(name).unwrap_or_else(|| panic!("{name} is not in this list"));
        seen.insert(name);
        for used in uses(package) {
            if let Some(own) = used.strip_prefix("lookout-").filter(|own| *own != "features") {
                assert!(may.contains(&own), "{name} uses {own}");
            }
            let door = DOORS.iter().find(|(giant, _)| *giant == used);
            assert!(door.is_none_or(|(_, crates)| crates.contains(&name)), "{name} uses {used}");
        }
    }
    assert_eq!(seen.len(), ALLOWED.len(), "{seen:?}");
}

#[test]
fn the_arrows_go_one_way() {
    let mut before = BTreeSet::new();
    for (name, uses) in ALLOWED {
        assert!(uses.iter().all(|used| before.contains(used)), "{name} uses one that comes after it");
        before.insert(name);
    }
}

/// What a package is linked with; its tests may use more.
fn uses(package: &Package) -> impl Iterator<Item = &str> {
    let linked = package.dependencies.iter().filter(|used| used.kind == DependencyKind::Normal);
    linked.map(|used| used.name.as_str())
}

/// The dependencies of `selection` with the features that cargo compiles them with.
fn features(selection: &[&str], edges: &str) -> BTreeSet<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--offline", "--no-dedupe", "--prefix", "none", "--format", "{p} {f}"]);
    cargo.args(["--edges", edges]).args(selection).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.replace(" (proc-macro)", "")).collect()
}

#[test]
fn programs_built_alone_share_every_compiled_dependency_with_the_tests() {
    let all = features(&["--workspace"], "normal,build,dev");
    for program in ["lookout-cli", "lookout-worker", "lookout-lab", "lookout-sim"] {
        let alone = features(&["--package", program], "normal,build");
        let compiled_again: Vec<_> = alone.difference(&all).collect();
        assert!(
            compiled_again.is_empty(),
            "`make test` would compile these again after `make demo`: {compiled_again:#?}; run `cargo hakari generate` \
             (https://crates.io/crates/cargo-hakari), which updates crates/features/Cargo.toml"
        );
    }
}
