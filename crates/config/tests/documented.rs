//! docs/pipeline-file.md and docs/adas.md name every key there is, and no other.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, path::Path};

use lookout_config::{AdasSettings, ConfigError, parse};

const PIPELINE: &str = include_str!("../../../docs/pipeline-file.md");
const ADAS: &str = include_str!("../../../docs/adas.md");

/// A key that is like no other, so that the mistake lists all that are known.
const UNKNOWN: &str = "zzzzzzzzzzzzzzzz";

/// The keys that are known where a file has [`UNKNOWN`], for which it is refused.
fn known(error: &ConfigError) -> BTreeSet<String> {
    let mistake = error.mistakes.iter().find(|mistake| mistake.key.ends_with(UNKNOWN));
    let what = &mistake.unwrap_or_else(|| panic!("{error}")).what;
    let (_, names) = what.split_once("known are ").unwrap_or_else(|| panic!("{what}"));
    names.split(", ").map(|name| name.trim_matches('`').to_owned()).collect()
}

/// The keys in the table of `docs` under this heading.
fn documented(docs: &str, heading: &str) -> BTreeSet<String> {
    let (_, rest) = docs.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("{heading}"));
    let section = rest.split("\n## ").next().unwrap_or(rest);
    let section = section.split("\n### ").next().filter(|_| heading.starts_with("### ")).unwrap_or(section);
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split_once('`')).map(|(key, _)| key.to_owned()).collect()
}

#[test]
fn every_key_is_documented_and_every_documented_key_exists() {
    for (heading, text) in [
        ("At the top", format!("{UNKNOWN} = 1")),
        ("`[model]`", format!("[model]\n{UNKNOWN} = 1")),
        ("`[classify]`", format!("[classify]\n{UNKNOWN} = 1")),
        ("`[infer]`", format!("[infer]\n{UNKNOWN} = 1")),
        ("`[batch]`", format!("[batch]\n{UNKNOWN} = 1")),
        ("`[kafka]`", format!("[kafka]\n{UNKNOWN} = 1")),
        ("`[worker]`", format!("[worker]\n{UNKNOWN} = 1")),
        ("`[snapshots]`", format!("[snapshots]\n{UNKNOWN} = 1")),
        ("`[fleet]`", format!("[fleet]\n{UNKNOWN} = 1")),
        ("`[[camera]]`", format!("[[camera]]\n{UNKNOWN} = 1")),
    ] {
        let error = parse(Path::new("x.toml"), &text, &|_| None).expect_err("a key that is not known");
        assert_eq!(documented(PIPELINE, &format!("## {heading}")), known(&error), "{heading}");
    }
    for (heading, text) in [
        ("At the top", format!("{UNKNOWN} = 1")),
        ("`[adas]`", format!("[adas]\n{UNKNOWN} = 1")),
        ("`[[camera]]`", format!("[[camera]]\n{UNKNOWN} = 1")),
        ("`corridor`", format!("[[camera]]\ncorridor = {{ {UNKNOWN} = 1 }}")),
    ] {
        let error =
            AdasSettings::parse(Path::new("x.toml"), &text, &|_| None).expect_err("a key that is not known");
        assert_eq!(documented(ADAS, &format!("### {heading}")), known(&error), "{heading}");
    }
}
