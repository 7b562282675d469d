//! Helpers that read the deployment files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub(crate) fn text(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Reads a YAML file and merges its `<<` keys.
pub(crate) fn yaml(file: &str) -> Value {
    let mut yaml: yaml_serde::Value =
        yaml_serde::from_str(&text(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    // Merged mappings may have merge keys themselves.
    for _ in 0..3 {
        yaml.apply_merge().unwrap();
    }
    yaml_serde::from_value(yaml).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Returns the paths of all deployment files, relative to the root.
pub(crate) fn all() -> Vec<String> {
    let mut files = vec!["Dockerfile".into(), "docker-compose.yml".into()];
    let mut folders = vec![PathBuf::from("deploy")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else {
                files.push(path.display().to_string());
            }
        }
    }
    assert!(files.len() > 15, "{files:?}");
    files
}

/// Returns the strings of a list.
pub(crate) fn strings(list: &Value) -> Vec<String> {
    let string = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{value} in {list}")).to_owned();
    list.as_array().map(|list| list.iter().map(string).collect()).unwrap_or_default()
}

/// Returns the words of a text that consist of letters, digits and `others`.
pub(crate) fn words<'a>(text: &'a str, others: &'static str) -> impl Iterator<Item = &'a str> {
    text.split(move |c: char| !c.is_ascii_alphanumeric() && !others.contains(c))
}

/// Returns the seconds of `20s` or `2m`.
pub(crate) fn seconds(text: &str) -> u64 {
    let (number, unit) = text.split_at(text.len() - 1);
    let times = match unit {
        "s" => 1,
        "m" => 60,
        _ => panic!("{text}"),
    };
    number.parse::<u64>().unwrap() * times
}
