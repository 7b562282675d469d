//! Checks the deployment files against the program: what they refer to exists, and their settings are valid.
//! A container engine is not required; Compose and kubectl also check the files if they are installed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod compose;
mod dockerfile;
mod files;
mod kubernetes;
mod observe;
mod secrets;

use std::{collections::BTreeMap, path::Path};

use lookout_config::{CameraSettings, PipelineSettings};
use lookout_tests::program::run;

use files::root;

/// Asserts that `lookout` accepts these arguments: the sub-command, each option, and each option's value.
fn assert_is_valid_command(words: &[String]) {
    // clap parses the arguments in order, and so rejects an unknown one before it reaches `--help`.
    let mut typed: Vec<&str> = words.iter().map(String::as_str).collect();
    typed.push("--help");
    let output = run(&typed).unwrap();
    assert!(output.status.success(), "lookout {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Returns the settings of a pipeline file that runs with exactly this `environment`.
fn checked(file: &str, environment: &BTreeMap<String, String>) -> PipelineSettings {
    let path = root().join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    lookout_config::parse(&path, &text, &|name| environment.get(name).cloned())
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Returns the cameras of a file for `lookout cameras import`, checked like those of a pipeline file.
fn cameras_of(file: &str) -> Vec<CameraSettings> {
    let path = root().join(file);
    let cameras = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    let text = format!(
        "name = \"x\"\n[model]\narch = \"resnet50\"\nweights = \"random:0\"\n[kafka]\nbrokers = \"embedded\"\n{cameras}"
    );
    let pipeline = lookout_config::parse(&path, &text, &|_| None);
    pipeline.unwrap_or_else(|error| panic!("{error}")).cameras
}

/// Returns the path in the container of the pipeline file of a `lookout run` command.
fn pipeline_of(words: &[String]) -> &str {
    file_of("run", words)
}

/// Returns the path in the container of the file after the sub-command.
fn file_of<'w>(verb: &str, words: &'w [String]) -> &'w str {
    assert_eq!(words[0], verb, "{words:?}");
    let file = Path::new(&words[1]);
    assert_eq!(file.parent(), Some(Path::new("/etc/lookout")), "{words:?}");
    &words[1]
}

/// Asserts that an image has a fixed version as its tag, and that our images have this program's version.
fn assert_pinned(image: &str) {
    let (name, tag) = image.rsplit_once(':').unwrap_or_else(|| panic!("{image} has no tag"));
    assert!(tag.starts_with(|c: char| c.is_ascii_digit() || c == 'v') && tag.contains('.'), "{image}");
    if name.starts_with("lookout/") {
        assert_eq!(tag, env!("CARGO_PKG_VERSION"), "{image}");
    }
}

#[test]
fn unknown_arguments_are_rejected() {
    assert_is_valid_command(&["tail", "--brokers", "kafka:19092"].map(String::from));
    let output = run(&["tail", "--brokerz", "kafka:19092", "--help"]).unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn the_documented_plan_matches_the_program() {
    let output =
        run(&["plan", "--cameras", "400", "--fps", "10", "--arch", "resnet50", "--cores", "32"]).unwrap();
    let planned = String::from_utf8(output.stdout).unwrap();
    assert!(!planned.is_empty() && files::text("docs/deploying.md").contains(&planned), "{planned}");
}
