//! Crate dependencies point one way: a crate may only depend on the crates that ARCHITECTURE.md allows, and
//! each large dependency is used by a few crates only. The modules of a crate have no circles.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "architecture/modules.rs"]
mod modules;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

/// Each crate with the crates of this workspace that it may depend on, from the bottom up.
const ALLOWED: [(&str, &[&str]); 22] = [
    ("features", &[]),
    ("schema", &[]),
    ("wire", &["schema"]),
    ("config", &["schema"]),
    ("stage", &["schema"]),
    ("args", &["config"]),
    ("fused", &[]),
    ("model", &["schema", "config", "stage", "fused"]),
    ("ingest", &["schema", "config", "stage"]),
    ("infer", &["schema", "stage"]),
    ("broker", &["schema", "wire", "config", "stage"]),
    ("web", &[]),
    ("worker", &["schema", "config", "stage", "args", "model", "ingest", "infer", "broker", "web"]),
    ("track", &["schema"]),
    ("adas", &["schema", "wire", "config", "broker", "track", "web"]),
    ("monitor", &["schema", "wire", "config", "broker", "web", "track"]),
    ("sim", &["schema", "args"]),
    ("draw", &["schema"]),
    ("measure", &["schema"]),
    ("train", &["schema", "config", "stage", "model", "draw", "measure"]),
    ("lab", &["schema", "config", "stage", "args", "model", "infer", "draw", "measure", "train"]),
    ("cli", &["schema", "config", "args", "broker", "track", "monitor", "adas", "draw", "measure"]),
];

/// Each large dependency with the crates that may use it.
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

/// A program of integration tests with several files lists them in its `main.rs`.
#[test]
fn every_file_of_integration_tests_is_compiled() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let mut missing = Vec::new();
    for package in &metadata.packages {
        let targets: BTreeSet<&Path> =
            package.targets.iter().map(|target| target.src_path.as_std_path()).collect();
        let mut folders: BTreeSet<PathBuf> = targets
            .iter()
            .filter(|path| {
                path.ends_with("main.rs") && path.components().any(|part| part.as_os_str() == "tests")
            })
            .filter_map(|path| path.parent().map(Path::to_owned))
            .collect();
        folders.extend(package.manifest_path.parent().map(|folder| folder.join("tests").into_std_path_buf()));
        for folder in folders {
            let listed = fs::read_to_string(folder.join("main.rs")).unwrap_or_default();
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for path in entries.map(|entry| entry.unwrap().path()) {
                let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
                let is_listed = listed.lines().any(|line| line == format!("mod {name};"));
                let source = if path.is_dir() { path.join("main.rs") } else { path };
                let is_rust =
                    source.is_file() && source.extension().is_some_and(|extension| extension == "rs");
                if is_rust && !is_listed && !targets.contains(source.as_path()) {
                    missing.push(source);
                }
            }
        }
    }
    assert!(missing.is_empty(), "in no test program: {missing:?}");
}

/// Each program is linked with libtorch, GStreamer or librdkafka, or with all of them, which takes seconds.
#[test]
fn integration_tests_are_linked_into_fewer_than_30_programs() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let programs: Vec<&str> = metadata
        .packages
        .iter()
        .flat_map(|package| &package.targets)
        .filter(|target| target.is_test())
        .map(|target| target.src_path.as_str())
        .collect();
    assert!(programs.len() < 30, "{} programs: {programs:#?}", programs.len());
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

#[test]
fn no_crate_has_a_circle_between_its_modules() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let mut circles = Vec::new();
    for package in metadata.packages.iter().filter(|package| package.name.starts_with("lookout-")) {
        let name = package.name.trim_start_matches("lookout-");
        for target in package.targets.iter().filter(|target| target.is_lib() || target.is_bin()) {
            for (module, circle) in modules::circles(target.src_path.as_std_path()) {
                circles.push(format!("{name}, in `{module}`: {circle}"));
            }
        }
    }
    assert!(circles.is_empty(), "move what both need into a module of its own: {circles:#?}");
}
