//! The files of a deployment against the program: what they name exists, and they hold what they promise. No
//! engine is needed; Compose and kubectl read their files too where they are installed.
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

/// `lookout` takes these words: the verb, each option, and each option's value.
fn is_understood(words: &[String]) {
    // clap reads the words in their order, and so trips over one that it does not know before it comes to the help.
    let mut typed: Vec<&str> = words.iter().map(String::as_str).collect();
    typed.push("--help");
    let output = run(&typed).unwrap();
    assert!(output.status.success(), "lookout {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The settings of a pipeline file that is run with `environment` and nothing else.
fn checked(file: &str, environment: &BTreeMap<String, String>) -> PipelineSettings {
    let path = root().join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    lookout_config::parse(&path, &text, &|name| environment.get(name).cloned())
        .unwrap_or_else(|error| panic!("{error}"))
}

/// The cameras of a file that `lookout cameras import` reads, checked as those of a pipeline file are.
fn cameras_of(file: &str) -> Vec<CameraSettings> {
    let path = root().join(file);
    let cameras = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    let text = format!(
        "name = \"x\"\n[model]\narch = \"resnet50\"\nweights = \"random:0\"\n[kafka]\nbrokers = \"embedded\"\n{cameras}"
    );
    let pipeline = lookout_config::parse(&path, &text, &|_| None);
    pipeline.unwrap_or_else(|error| panic!("{error}")).cameras
}

/// The pipeline file that a `lookout run` names, as it is called in the container.
fn pipeline_of(words: &[String]) -> &str {
    file_of("run", words)
}

/// The file that comes after the verb, as it is called in the container.
fn file_of<'w>(verb: &str, words: &'w [String]) -> &'w str {
    assert_eq!(words[0], verb, "{words:?}");
    let file = Path::new(&words[1]);
    assert_eq!(file.parent(), Some(Path::new("/etc/lookout")), "{words:?}");
    &words[1]
}

/// An image's name and its tag, which is a fixed version; ours are this program's.
fn assert_pinned(image: &str) {
    let (name, tag) = image.rsplit_once(':').unwrap_or_else(|| panic!("{image} has no tag"));
    assert!(tag.starts_with(|c: char| c.is_ascii_digit() || c == 'v') && tag.contains('.'), "{image}");
    if name.starts_with("lookout/") {
        assert_eq!(tag, env!("CARGO_PKG_VERSION"), "{image}");
    }
}

#[test]
fn a_word_that_lookout_does_not_know_is_noticed() {
    is_understood(&["tail", "--brokers", "kafka:19092"].map(String::from));
    let output = run(&["tail", "--brokerz", "kafka:19092", "--help"]).unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn the_plan_in_the_documentation_is_what_is_planned() {
    let output =
        run(&["plan", "--cameras", "400", "--fps", "10", "--arch", "resnet50", "--cores", "32"]).unwrap();
    let planned = String::from_utf8(output.stdout).unwrap();
    assert!(!planned.is_empty() && files::text("docs/deploying.md").contains(&planned), "{planned}");
}
