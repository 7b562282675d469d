//! Checks the files of Prometheus, Grafana and the autoscaler against the metrics of a running worker.

use std::{collections::BTreeSet, process::Command, time::Duration};

use lookout_tests::program::Running;
use serde_json::Value;

use super::files::{all, root, text, words, yaml};

const PATIENCE: Duration = Duration::from_secs(600);
/// Labels that Prometheus, or the scrape in Kubernetes, adds to every sample.
const ADDED_LABELS: [&str; 5] = ["instance", "job", "le", "namespace", "pod"];

/// Metrics of other programs, and metrics that a worker has only after a fault, followed by their labels.
const NOT_AT_ONCE: [&str; 3] = [
    "lookout_kafka_refused_total",
    "lookout_monitor_records_deleted_total",
    "lookout_adas_records_deleted_total",
];
const LABELS_OF_THESE: [&str; 1] = ["error"];

/// Returns the names of a worker's samples, and the labels in use.
fn samples() -> (BTreeSet<String>, BTreeSet<String>) {
    let camera = "[[camera]]\nid = \"ball\"\nuri = \"test://ball?width=64&height=64&fps=10\"";
    let mut running = Running::start(camera).unwrap();
    let published = |running: &Running| {
        let (_, page) = running.page("/metrics")?;
        page.contains("lookout_last_record_age_seconds{").then_some(page)
    };
    let page = running.until("a record", PATIENCE, published).unwrap();
    let (mut names, mut labels) = (BTreeSet::new(), BTreeSet::new());
    for line in page.lines() {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').unwrap();
            let suffixes: &[&str] = match kind {
                "counter" => &["_total"],
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            names.extend(suffixes.iter().map(|suffix| format!("{name}{suffix}")));
        } else if let Some((_, rest)) = line.split_once('{') {
            let inside = rest.split('}').next().unwrap();
            labels.extend(inside.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned())));
        }
    }
    (names, labels)
}

/// Returns the metrics that the files themselves define.
fn made() -> BTreeSet<String> {
    let adapter = yaml("deploy/prometheus/adapter.yaml");
    adapter["rules"]["custom"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule["name"]["as"].as_str().unwrap().into())
        .collect()
}

#[test]
fn every_metric_and_label_in_deployment_files_exists() {
    let (mut names, mut labels) = samples();
    let made = made();
    names.extend(NOT_AT_ONCE.map(Into::into));
    labels.extend(ADDED_LABELS.into_iter().chain(LABELS_OF_THESE).map(Into::into));
    let mut seen = BTreeSet::new();
    for file in all().into_iter().filter(|file| !file.ends_with(".toml")) {
        let text = text(&file);
        for word in words(&text, "_:").filter(|word| word.starts_with("lookout_")) {
            assert!(names.contains(word) || made.contains(word), "{file}: {word} is not among {names:?}");
            seen.insert(word.to_owned());
        }
        for by in text.split("by (").skip(1) {
            for label in by.split(')').next().unwrap().split(',').map(str::trim) {
                assert!(labels.contains(label) || label == "<<.GroupBy>>", "{file}: by ({label})");
            }
        }
    }
    assert!(seen.len() >= 15, "{seen:?}");
}

#[test]
fn the_dashboard_shows_every_documented_metric() {
    let dashboard = text("deploy/grafana/lookout.json");
    let documented = text("docs/operating.md");
    let missing: Vec<&str> = documented
        .split('`')
        .filter(|name| name.starts_with("lookout_") && !name.contains('='))
        .filter(|name| !dashboard.contains(name) && *name != "lookout_last_record_age_seconds")
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_rule_of_prometheus_has_a_test() {
    let rules = text("deploy/prometheus/rules.yml");
    let tests = text("deploy/prometheus/rules_test.yml");
    let name = |line: &str| {
        let line = line.trim();
        line.strip_prefix("- alert: ").or_else(|| line.strip_prefix("- record: ")).map(str::to_owned)
    };
    let names: Vec<String> = rules.lines().filter_map(name).collect();
    assert!(names.len() >= 6, "{names:?}");
    for name in names {
        assert!(tests.contains(&name), "{name}");
    }
    let arguments = ["test", "rules", "deploy/prometheus/rules_test.yml"];
    match Command::new("promtool").args(arguments).current_dir(root()).output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
        Err(_) => eprintln!("promtool is not installed: the tests of the rules were not run"),
    }
}

#[test]
fn prometheus_and_grafana_have_matching_addresses() {
    let services = yaml("docker-compose.yml")["services"].clone();
    let prometheus = yaml("deploy/prometheus/prometheus.yml");
    let job = &prometheus["scrape_configs"][0];
    let found = &job["dns_sd_configs"][0];
    for name in found["names"].as_array().unwrap() {
        let service = &services[name.as_str().unwrap()];
        assert_eq!(service["expose"][0], found["port"].to_string(), "{name}");
    }
    let rules = text("deploy/prometheus/rules.yml");
    assert!(rules.contains(&format!("up{{job={}}}", job["job_name"])));
    let dockerfile = text("Dockerfile");
    for file in prometheus["rule_files"].as_array().unwrap() {
        let name = file.as_str().unwrap().rsplit('/').next().unwrap();
        assert!(dockerfile.contains(&format!("deploy/prometheus/{name}")), "{name}");
    }
    let datasource = &yaml("deploy/grafana/datasource.yml")["datasources"][0];
    let published = services["prometheus"]["ports"][0].as_str().unwrap();
    let port = published.rsplit(':').next().unwrap();
    assert_eq!(datasource["url"], format!("http://prometheus:{port}"));
    let folder = &yaml("deploy/grafana/dashboards.yml")["providers"][0]["options"]["path"];
    assert!(dockerfile.contains(&format!("{}/lookout.json", folder.as_str().unwrap())));
    let dashboard: Value = serde_json::from_str(&text("deploy/grafana/lookout.json")).unwrap();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert_eq!(panel["datasource"]["uid"], datasource["uid"], "{panel}");
        for target in panel["targets"].as_array().unwrap() {
            assert!(target["expr"].as_str().is_some_and(|expr| !expr.is_empty()), "{panel}");
        }
    }
}
