//! Checks that docs/pipeline-file.md, docs/monitor.md, docs/adas.md and docs/training.md list exactly the
//! keys that the parsers accept.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, path::Path};

use lookout_config::{
    ARCHS, AdasSettings, ConfigError, RuleReader, RuleSubject, Section, Task, parse, parse_monitor,
    parse_recipe,
};

const DOCS: &str = include_str!("../../../docs/pipeline-file.md");
const ADAS: &str = include_str!("../../../docs/adas.md");
const MONITOR: &str = include_str!("../../../docs/monitor.md");
const TRAINING: &str = include_str!("../../../docs/training.md");

/// A key that is not similar to any other, so that the error lists all valid keys.
const UNKNOWN: &str = "zzzzzzzzzzzzzzzz";

/// Returns the valid keys of the table that contains [`UNKNOWN`] in `text`.
fn known(text: &str) -> BTreeSet<String> {
    keys(&parse(Path::new("x.toml"), text, &|_| None).expect_err("an unknown key is an error"))
}

fn keys(error: &ConfigError) -> BTreeSet<String> {
    let diagnostic = error.diagnostics.iter().find(|diagnostic| diagnostic.key.ends_with(UNKNOWN));
    let what = &diagnostic.unwrap_or_else(|| panic!("{error}")).what;
    let (_, names) = what.split_once("valid keys are ").unwrap_or_else(|| panic!("{what}"));
    names.split(", ").map(|name| name.trim_matches('`').to_owned()).collect()
}

/// Returns the keys in the documentation's table under the heading `## {heading}`.
fn documented(docs: &str, heading: &str) -> BTreeSet<String> {
    let (_, rest) = docs.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("{heading}"));
    let section = rest.split("\n## ").next().unwrap_or(rest);
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split_once('`')).map(|(key, _)| key.to_owned()).collect()
}

#[test]
fn keys_of_a_pipeline_file_match_the_documentation() {
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
        assert_eq!(documented(DOCS, heading), known(&text), "{heading}");
    }
}

#[test]
fn keys_of_a_recipe_match_the_documentation() {
    for heading in [
        "The recipe's top",
        "`[model]`",
        "`[data]`",
        "`[augment]`",
        "`[train]`",
        "`[optimizer]`",
        "`[schedule]`",
        "`[loss]`",
    ] {
        let table = heading.strip_prefix('`').map_or("", |heading| heading.trim_end_matches('`'));
        let text = format!("{table}\n{UNKNOWN} = 1");
        let error =
            parse_recipe(Path::new("x.toml"), &text, &|_| None).expect_err("an unknown key is an error");
        let mut known = keys(&error);
        // At the top of the recipe, the names of the tables are keys as well.
        known.retain(|key| !(table.is_empty() && TRAINING.contains(&format!("\n## `[{key}]`\n"))));
        assert_eq!(documented(TRAINING, heading), known, "{heading}");
    }
}

/// The kinds of rules, with their keys, belong to the crate `monitor`, which compares them with docs/monitor.md.
struct NoRules;

impl RuleReader for NoRules {
    type Rule = ();

    fn kind(&self) -> &'static str {
        ""
    }

    fn subject(&self) -> RuleSubject {
        RuleSubject::Camera
    }

    fn read(&self, _section: &Section<'_, '_>) -> Option<()> {
        None
    }
}

#[test]
fn keys_of_a_monitor_file_match_the_documentation() {
    let known = |text: &str| {
        let text = if text.starts_with("[monitor]") { text.to_owned() } else { format!("[monitor]\n{text}") };
        let read = parse_monitor::<NoRules>(Path::new("x.toml"), &text, &|_| None, &[]);
        keys(&read.expect_err("an unknown key is an error"))
    };
    for heading in ["[monitor]", "[tracking]", "[[webhook]]"] {
        assert_eq!(
            documented(MONITOR, &format!("`{heading}`")),
            known(&format!("{heading}\n{UNKNOWN} = 1")),
            "{heading}"
        );
    }
    for heading in ["[[zone]]", "[[line]]"] {
        let known = known(&format!("{heading}\n{UNKNOWN} = 1"));
        assert_eq!(documented(MONITOR, "`[[zone]]` and `[[line]]`"), known, "{heading}");
    }
}

#[test]
fn keys_of_an_adas_file_match_the_documentation() {
    for (heading, text) in [
        ("At the top", format!("{UNKNOWN} = 1")),
        ("`[adas]`", format!("[adas]\n{UNKNOWN} = 1")),
        ("`[tracking]`", format!("[tracking]\n{UNKNOWN} = 1")),
        ("`[[camera]]`", format!("[[camera]]\n{UNKNOWN} = 1")),
        ("`corridor`", format!("[[camera]]\ncorridor = {{ {UNKNOWN} = 1 }}")),
    ] {
        let read = AdasSettings::parse(Path::new("x.toml"), &text, &|_| None);
        assert_eq!(
            documented(ADAS, heading),
            keys(&read.expect_err("an unknown key is an error")),
            "{heading}"
        );
    }
}

#[test]
fn every_network_is_in_the_documentation() {
    let row = |heading: &str| {
        let (_, rest) =
            DOCS.split_once(&format!("\n## `{heading}`\n")).unwrap_or_else(|| panic!("{heading}"));
        rest.lines().find(|line| line.starts_with("| `arch` |")).unwrap_or_else(|| panic!("{heading}"))
    };
    for arch in ARCHS {
        let name = format!("`{}`", arch.name);
        assert!(row("[model]").contains(&name), "[model] {name}");
        assert_eq!(row("[classify]").contains(&name), arch.task == Task::Classification, "[classify] {name}");
    }
}
