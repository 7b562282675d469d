//! The Dockerfile.

use std::collections::BTreeMap;

use super::{
    assert_is_valid_command, assert_pinned, file_of,
    files::{root, text},
    pipeline_of,
};

/// A build stage: its base, and its instructions.
#[derive(Debug)]
pub(crate) struct Stage {
    from: String,
    instructions: Vec<(String, String)>,
}

/// Returns the Dockerfile's stages by name. A base that is a build argument is replaced by the argument's default.
pub(crate) fn stages() -> BTreeMap<String, Stage> {
    let joined = text("Dockerfile").replace("\\\n", " ");
    let mut stages: BTreeMap<String, Stage> = BTreeMap::new();
    let mut current = String::new();
    let mut defaults: BTreeMap<String, String> = BTreeMap::new();
    for line in joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (word, rest) = line.split_once(' ').unwrap();
        if word == "FROM" {
            let (from, name) =
                rest.split_once(" AS ").unwrap_or_else(|| panic!("a stage without a name: {rest}"));
            current = name.into();
            let argument = from.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
            let from = argument.map_or(from, |name| defaults[name].as_str());
            stages.insert(name.into(), Stage { from: from.into(), instructions: Vec::new() });
        } else if word == "ARG" && stages.is_empty() {
            let (name, default) = rest.split_once('=').unwrap();
            defaults.insert(name.into(), default.into());
        } else {
            stages.get_mut(&current).unwrap().instructions.push((word.into(), rest.trim().into()));
        }
    }
    stages
}

/// Returns the arguments of the last `word` instruction of a stage or of its bases.
pub(crate) fn last(stages: &BTreeMap<String, Stage>, name: &str, word: &str) -> Option<String> {
    let stage = stages.get(name)?;
    let own = stage.instructions.iter().rev().find(|(each, _)| each == word).map(|(_, rest)| rest.clone());
    own.or_else(|| last(stages, &stage.from, word))
}

/// Returns the path in the repository from which a file of an image is copied.
pub(crate) fn origin(stages: &BTreeMap<String, Stage>, name: &str, path: &str) -> Option<String> {
    let stage = stages.get(name)?;
    let copied = copies(stage).find_map(|(sources, to)| {
        let inside = path.strip_prefix(to.trim_end_matches('/'))?.trim_start_matches('/');
        let whole = |source: &String| {
            let last = source.rsplit('/').next();
            inside.is_empty() || last == Some(inside)
        };
        sources.into_iter().find(whole)
    });
    copied.or_else(|| origin(stages, &stage.from, path))
}

/// Returns the paths that a stage copies from the repository, and their destination.
fn copies(stage: &Stage) -> impl Iterator<Item = (Vec<String>, String)> {
    let own = stage.instructions.iter().filter(|(word, rest)| word == "COPY" && !rest.starts_with("--from"));
    own.map(|(_, rest)| {
        let mut paths: Vec<String> = rest.split_whitespace().map(Into::into).collect();
        let to = paths.pop().unwrap();
        (paths, to)
    })
}

/// Exists only while scripts/compose/images.sh builds the images.
const PREBUILT: &str = "target/images";
const IMAGES: [&str; 7] = ["worker", "worker-cuda", "lookout", "monitor", "cameras", "prometheus", "grafana"];

#[test]
fn images_have_pinned_bases_and_run_unprivileged() {
    let stages = stages();
    for stage in stages.values() {
        if !stages.contains_key(&stage.from) && stage.from != "scratch" {
            assert_pinned(&stage.from);
        }
    }
    for name in IMAGES {
        let user = last(&stages, name, "USER").unwrap_or_else(|| panic!("{name} runs as root"));
        assert!(user.split(':').next().unwrap().parse::<u32>().unwrap() > 0, "{name} runs as {user}");
    }
}

#[test]
fn copied_files_exist_and_are_not_ignored() {
    let ignored = text(".dockerignore");
    let taken: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    for file in taken.iter().filter(|file| **file != PREBUILT) {
        assert!(root().join(file).exists(), ".dockerignore includes {file}, which does not exist");
    }
    let mut copied: Vec<String> = Vec::new();
    for (name, stage) in stages() {
        for source in copies(&stage).flat_map(|(sources, _)| sources) {
            assert!(source == PREBUILT || root().join(&source).exists(), "{name} copies {source}");
            assert!(taken.iter().any(|file| source.starts_with(file)), "{source} is ignored");
            copied.push(source);
        }
    }
    // The whole workspace, which cargo requires.
    for needed in [
        "Cargo.toml",
        "Cargo.lock",
        "rust-toolchain.toml",
        "crates",
        "schemas/lookout.proto",
        "examples/rust",
        "tests/Cargo.toml",
        "tests/src",
    ] {
        assert!(taken.contains(&needed), "{needed} is ignored");
        assert!(copied.iter().any(|source| source == needed), "{needed} is not copied");
    }
}

#[test]
fn images_have_valid_commands_and_health_checks() {
    let stages = stages();
    for name in ["worker", "worker-cuda", "lookout", "monitor"] {
        assert_eq!(last(&stages, name, "ENTRYPOINT").as_deref(), Some("[\"lookout\"]"), "{name}");
        let words: Vec<String> = serde_json::from_str(&last(&stages, name, "CMD").unwrap()).unwrap();
        if words != ["--help"] {
            assert_is_valid_command(&words);
            let file = if name == "monitor" { file_of("monitor", &words) } else { pipeline_of(&words) };
            assert!(origin(&stages, name, file).is_some(), "{name} has no {file}");
        }
        assert!(last(&stages, name, "HEALTHCHECK").is_some(), "{name}");
    }
    let health = last(&stages, "worker", "HEALTHCHECK").unwrap();
    let port = last(&stages, "worker", "EXPOSE").unwrap();
    assert!(health.contains(&format!("http://127.0.0.1:{port}/healthz")), "{health}");
}

#[test]
fn small_images_contain_neither_libtorch_nor_gstreamer() {
    let stages = stages();
    for image in ["lookout", "monitor"] {
        let mut name = image.to_owned();
        while let Some(stage) = stages.get(&name) {
            for (_, rest) in &stage.instructions {
                assert!(!rest.contains("torch") && !rest.contains("gstreamer"), "{name}: {rest}");
            }
            name.clone_from(&stage.from);
        }
    }
}

#[test]
fn versions_match_the_repository() {
    let dockerfile = text("Dockerfile");
    let toolchain = text("rust-toolchain.toml");
    let rust = toolchain.split('"').nth(1).unwrap();
    assert!(dockerfile.contains(&format!("FROM rust:{rust}-slim-bookworm ")), "not Rust {rust}");
    assert!(dockerfile.contains(&format!("RUSTUP_TOOLCHAIN={rust}\n")), "not Rust {rust}");
    let script = text("scripts/libtorch.sh");
    let libtorch = script.lines().find_map(|line| line.strip_prefix("version=")).unwrap();
    let folders: Vec<&str> = dockerfile.split("/libtorch-").skip(1).collect();
    assert!(!folders.is_empty() && folders.iter().all(|rest| rest.starts_with(libtorch)), "{folders:?}");
}
