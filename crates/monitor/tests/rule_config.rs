//! The keys of each kind of rule: errors in them are reported, and docs/monitor.md lists all of them.

use std::{collections::BTreeSet, path::Path};

use lookout_monitor::{KINDS, parse};

const DOCS: &str = include_str!("../../../docs/monitor.md");
const UNKNOWN: &str = "zzzzzzzzzzzzzzzz";

/// A valid rule of each kind.
const RULES: [&str; 7] = [
    "kind = \"count\"\nthreshold = 1",
    "kind = \"line\"",
    "kind = \"dwell\"\nfor_s = 1",
    "kind = \"camera_down\"",
    "kind = \"worker_down\"",
    "kind = \"latency\"\nbudget_ms = 1",
    "kind = \"absence\"",
];

fn errors(rule: &str) -> Vec<(String, String)> {
    let text = format!("[monitor]\n[[rule]]\nname = \"a\"\n{rule}\n");
    let errors =
        parse(Path::new("x.toml"), &text, &|_| None).map_or_else(|error| error.diagnostics, |_| Vec::new());
    errors.into_iter().map(|error| (error.key, error.what)).collect()
}

#[test]
fn reports_errors_in_the_keys_of_a_kind() {
    for rule in RULES {
        assert_eq!(errors(rule), [], "{rule}");
    }
    for (rule, key, part) in [
        ("kind = \"count\"\nthreshold = 1\nfor_s = -1", "rule[0].for_s", "between 0 and 86400"),
        ("kind = \"count\"", "rule[0].threshold", "is required"),
        ("kind = \"line\"\ndirection = \"up\"", "rule[0].direction", "`left_to_right`"),
        ("kind = \"dwell\"", "rule[0].for_s", "is required"),
        ("kind = \"latency\"", "rule[0].budget_ms", "is required"),
        ("kind = \"worker_down\"\ncameras = [\"a\"]", "rule[0].cameras", "unknown key"),
        ("", "rule[0].kind", "`worker_down`"),
    ] {
        let errors = errors(rule);
        assert!(errors.iter().any(|(at, what)| at == key && what.contains(part)), "{rule}: {errors:?}");
    }
}

#[test]
fn keys_of_the_rules_match_the_documentation() {
    assert_eq!(RULES.len(), KINDS.len(), "each kind has a rule in RULES");
    let mut known = BTreeSet::new();
    for rule in RULES {
        let errors = errors(&format!("{rule}\n{UNKNOWN} = 1"));
        let (_, what) = errors.iter().find(|(key, _)| key.ends_with(UNKNOWN)).unwrap();
        let (_, names) = what.split_once("valid keys are ").unwrap();
        known.extend(names.split(", ").map(|name| name.trim_matches('`').to_owned()));
    }
    let (_, section) = DOCS.split_once("\n## `[[rule]]`\n").unwrap();
    let rows = section.split("\n## ").next().unwrap().lines().filter_map(|line| line.strip_prefix("| `"));
    let documented: BTreeSet<String> =
        rows.filter_map(|row| row.split_once('`')).map(|(key, _)| key.to_owned()).collect();
    assert_eq!(documented, known);
}
