//! Pipeline files: one invalid file per rule. Each error has its line, its key and a message with a remedy.

mod cameras;
mod fleet;
mod model;

use std::path::Path;

use lookout_config::{ConfigError, PipelineSettings, parse};

const GOOD: &str = r#"name = "gate"

[model]
arch = "resnet50"
weights = "random:0"

[batch]
max_size = 8

[kafka]
brokers = "embedded"

[worker]
http = "127.0.0.1:9600"

[[camera]]
id = "north"
uri = "rtsp://me:${PASSWORD}@camera/stream"

[[camera]]
id = "clip"
uri = "clip.avi"
"#;

fn read(text: &str) -> Result<PipelineSettings, ConfigError> {
    parse(Path::new("gate.toml"), text, &|name| (name == "PASSWORD").then(|| "p@ss".into()))
}

/// `(text in the valid file, replacement, line of the error, key of the error, part of the message)`
type Rule = (&'static str, &'static str, usize, &'static str, &'static str);

/// The rules of the whole file, and of the tables other than the model and the cameras.
const RULES: &[Rule] = &[
    ("name = \"gate\"", "name = ", 1, "", "invalid TOML"),
    ("name = \"gate\"", "", 1, "name", "is required"),
    ("name = \"gate\"", "name = \"\"", 1, "name", "is empty"),
    ("name = \"gate\"", "name = 3", 1, "name", "expected a string in quotes"),
    ("name = \"gate\"", "nmae = \"x\"\nname = \"gate\"", 1, "nmae", "did you mean `name`?"),
    ("[model]", "[modle]", 3, "modle", "did you mean `model`?"),
    ("max_size = 8", "max_size = 0", 8, "batch.max_size", "between 1 and 1024"),
    ("max_size = 8", "max_size = \"8\"", 8, "batch.max_size", "expected a whole number"),
    ("max_size = 8", "max_wait = 8", 8, "batch.max_wait", "did you mean `max_wait_ms`?"),
    ("max_size = 8", "max_wait_ms = 10001", 8, "batch.max_wait_ms", "between 0 and 10000"),
    ("max_size = 8", "max_age_ms = 0", 8, "batch.max_age_ms", "between 1 and"),
    ("\"embedded\"", "\"kafka\"", 11, "kafka.brokers", "`kafka` is not a valid `host:port`"),
    ("\"embedded\"", "\"a:1,:2\"", 11, "kafka.brokers", "`:2` is not a valid `host:port`"),
    (
        "\"embedded\"",
        "\"embedded\"\ntopic_prefix = \"a b\"",
        12,
        "kafka.topic_prefix",
        "not a valid topic prefix",
    ),
    ("\"embedded\"", "\"embedded\"\nformat = \"avro\"", 12, "kafka.format", "`json`, `protobuf`"),
    ("\"embedded\"", "\"embedded\"\npartitions = 10001", 12, "kafka.partitions", "between 0 and 10000"),
    ("\"embedded\"", "\"embedded\"\nreplication = 101", 12, "kafka.replication", "between 0 and 100"),
    ("\"embedded\"", "\"embedded\"\nbuffer_records = 0", 12, "kafka.buffer_records", "between 1 and"),
    ("\"embedded\"", "\"embedded\"\nclient = { acks = 1 }", 12, "kafka.client.acks", "it is always `all`"),
    (
        "\"embedded\"",
        "\"embedded\"\npassword_file = \"password\"",
        12,
        "kafka.password_file",
        "set `sasl.username`",
    ),
    (
        "\"embedded\"",
        "\"embedded\"\npassword_file = \"password\"\nclient = { \"sasl.username\" = \"me\", \"sasl.password\" = \"x\" }",
        12,
        "kafka.password_file",
        "remove `sasl.password`",
    ),
    (
        "\"embedded\"",
        "\"embedded\"\nclient = { \"ssl.ca.location\" = [] }",
        12,
        "kafka.client.ssl.ca.location",
        "a string, a number, true or false",
    ),
    ("127.0.0.1:9600", "localhost", 14, "worker.http", "use IP:PORT"),
    ("http = \"127.0.0.1:9600\"", "drain_s = 4000", 14, "worker.drain_s", "between 0 and 3600"),
    ("http = \"127.0.0.1:9600\"", "id = \"a b\"", 14, "worker.id", "is not a valid worker id"),
    (
        "http = \"127.0.0.1:9600\"",
        "status_interval_ms = 1",
        14,
        "worker.status_interval_ms",
        "between 100 and",
    ),
    ("http = \"127.0.0.1:9600\"", "latency_budget_ms = 0", 14, "worker.latency_budget_ms", "between 1 and"),
    ("name = \"gate\"", "name = \"gate\"\ncameras = \"all\"", 2, "cameras", "valid values are `registry`"),
    ("[worker]", "[fleet]\n[worker]", 13, "fleet", "for `cameras = \"registry\"` only"),
    ("max_size = 8", "max_size = 8\n[infer]\ninterval = 0", 10, "infer.interval", "between 1 and"),
    ("name = \"gate\"", "name = \"gate\"\nsnapshots = true", 2, "snapshots", "expected a table"),
    ("[worker]", "[snapshots]\ninterval_ms = 99\n[worker]", 14, "snapshots.interval_ms", "between 100 and"),
    ("[worker]", "[snapshots]\nwidth = 32\n[worker]", 14, "snapshots.width", "between 64 and 1920"),
    ("[worker]", "[snapshots]\nquality = 0\n[worker]", 14, "snapshots.quality", "between 1 and 100"),
    ("[worker]", "[snapshots]\nheight = 1\n[worker]", 14, "snapshots.height", "valid keys are `interval_ms`"),
    (
        "max_size = 8",
        "max_size = 8\n[classify]\narch = \"resnet18\"\nweights = \"random:0\"",
        9,
        "classify",
        "finds no boxes",
    ),
];

#[test]
fn accepts_a_valid_file() {
    let settings = read(GOOD).unwrap();
    assert_eq!(settings.cameras.len(), 2);
    assert_eq!(settings.cameras[0].uri.to_string(), "rtsp://***@camera/stream");
}

#[test]
fn reports_each_mistake_at_its_line_and_key() {
    hold(GOOD, RULES);
}

/// Applies each rule to the file `good`, and checks that its error is the only one.
fn hold(good: &str, rules: &[Rule]) {
    for (from, to, line, key, part) in rules {
        assert_eq!(good.matches(from).count(), 1, "{from}");
        let Err(error) = read(&good.replace(from, to)) else { panic!("{to}") };
        let found =
            error.diagnostics.iter().any(|m| m.line == *line && m.key == *key && m.what.contains(part));
        assert!(found, "{to}: expected {line}: {key}: {part}\n{error}");
        let one = error.diagnostics.len() == 1 || to.starts_with("[modle]") || to.starts_with("model = 1");
        assert!(one, "{to}: expected one diagnostic only\n{error}");
        assert!(!error.to_string().contains("p@ss"), "{error}");
    }
}

#[test]
fn rejects_a_file_without_cameras() {
    let text = GOOD.split("[[camera]]").next().unwrap();
    let error = read(text).unwrap_err();
    assert_eq!(error.diagnostics.len(), 1);
    assert!(error.diagnostics[0].what.contains("there is no camera"), "{error}");
}

#[test]
fn reports_all_mistakes_sorted_by_line() {
    let text = GOOD
        .replace("resnet50", "resnet51")
        .replace("max_size = 8", "max_size = 0\nmax = 1")
        .replace("clip.avi", "ftp://x");
    let error = read(&text).unwrap_err();
    let keys: Vec<&str> = error.diagnostics.iter().map(|m| m.key.as_str()).collect();
    assert_eq!(keys, ["model.arch", "batch.max_size", "batch.max", "camera[1].uri"]);
    assert!(error.to_string().starts_with("gate.toml:4: model.arch: unknown value `resnet51`"), "{error}");
}

#[test]
fn rejects_an_empty_list_of_cameras() {
    let text = format!("camera = []\n{}", GOOD.split("[[camera]]").next().unwrap());
    assert!(read(&text).unwrap_err().to_string().contains("there is no camera"));
}

#[test]
fn rejects_an_array_instead_of_a_table() {
    let error = read(&GOOD.replace("[batch]", "[[batch]]")).unwrap_err();
    assert!(error.to_string().contains("batch: expected a table"), "{error}");
}
