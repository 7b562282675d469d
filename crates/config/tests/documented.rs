//! docs/pipeline-file.md names every key there is, and no other.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, path::Path};

use lookout_config::parse;

const DOCS: &str = include_str!("../../../docs/pipeline-file.md");

/// A key that is like no other, so that the mistake lists all that are known.
const UNKNOWN: &str = "zzzzzzzzzzzzzzzz";

/// The keys that are known where `text` has [`UNKNOWN`].
fn known(text: &str) -> BTreeSet<String> {
    let error = parse(Path::new("x.toml"), text, &|_| None).expect_err("a key that is not known");
    let mistake = error.mistakes.iter().find(|mistake| mistake.key.ends_with(UNKNOWN));
    let what = &mistake.unwrap_or_else(|| panic!("{error}")).what;
    let (_, names) = what.split_once("known are ").unwrap_or_else(|| panic!("{what}"));
    names.split(", ").map(|name| name.trim_matches('`').to_owned()).collect()
}

/// The keys in the table under the heading `## {heading}`.
fn documented(heading: &str) -> BTreeSet<String> {
    let (_, rest) = DOCS.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("{heading}"));
    let section = rest.split("\n## ").next().unwrap_or(rest);
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
        assert_eq!(documented(heading), known(&text), "{heading}");
    }
}
