//! Configuration files of `lookout monitor`: each error has its line, its key and a message with a remedy.

use std::path::Path;

use lookout_config::{ConfigError, RuleReader, RuleSubject, Section, parse_monitor};

const GOOD: &str = r#"[monitor]
http = "127.0.0.1:9700"
token = "0123456789abcdef"

[kafka]
brokers = "localhost:9092"

[tracking]
publish = false

[[rule]]
name = "crowd"
kind = "count"
zone = "door"
threshold = 3

[[zone]]
camera = "gate"
name = "door"
points = [[0, 0], [1, 0], [1, 1]]

[[line]]
camera = "gate"
name = "kerb"
points = [[0, 0.5], [1, 0.5]]

[[webhook]]
url = "https://example.com/hook?key=${KEY}"
secret = "${KEY}"
rules = ["crowd"]
"#;

/// The kinds of rules belong to the crate `monitor`; here there is one kind with two keys of its own.
#[derive(Debug)]
struct Count;

impl RuleReader for Count {
    type Rule = (Option<String>, u64);

    fn kind(&self) -> &'static str {
        "count"
    }

    fn subject(&self) -> RuleSubject {
        RuleSubject::Camera
    }

    fn read(&self, section: &Section<'_, '_>) -> Option<Self::Rule> {
        section.need("threshold", "`threshold` is required: more objects than this raise an alert");
        Some((section.text("zone"), section.integer("threshold", 0..=10_000)?))
    }
}

type MonitorSettings = lookout_config::MonitorSettings<(Option<String>, u64)>;

fn read(text: &str) -> Result<MonitorSettings, ConfigError> {
    let env = |name: &str| (name == "KEY").then(|| "s3cret".into());
    parse_monitor(Path::new("monitor.toml"), text, &env, &[Count])
}

/// `(text in the valid file, replacement, line of the error, key of the error, part of the message)`
const RULES: &[(&str, &str, usize, &str, &str)] = &[
    ("[monitor]", "[monitro]", 1, "monitro", "did you mean `monitor`?"),
    ("127.0.0.1:9700", "localhost", 2, "monitor.http", "use IP:PORT"),
    (
        "127.0.0.1:9700\"\ntoken = \"0123456789abcdef\"",
        "0.0.0.0:9700\"",
        2,
        "monitor.http",
        "requires a token",
    ),
    ("0123456789abcdef", "short", 3, "monitor.token", "can be guessed"),
    ("0123456789abcdef", "${NOT_SET}", 3, "monitor.token", "NOT_SET is not set"),
    ("token = \"0123456789abcdef\"", "retention_days = 0", 3, "monitor.retention_days", "between 1 and 3650"),
    (
        "token = \"0123456789abcdef\"",
        "max_store_mb = 1",
        3,
        "monitor.max_store_mb",
        "between 16 and 10000000",
    ),
    ("token = \"0123456789abcdef\"", "start_from = \"then\"", 3, "monitor.start_from", "`recent`"),
    ("token = \"0123456789abcdef\"", "datta = \"x\"", 3, "monitor.datta", "did you mean `data`?"),
    ("localhost:9092", "localhost", 6, "kafka.brokers", "not a valid `host:port`"),
    ("publish = false", "publish = 1", 9, "tracking.publish", "true or false"),
    ("publish = false", "algorithm = \"kalman\"", 9, "tracking.algorithm", "the trackers are lookout, sort"),
    ("publish = false", "track_high_thresh = 2", 9, "tracking.track_high_thresh", "between 0 and 1"),
    ("name = \"crowd\"", "", 11, "rule[0].name", "is required"),
    ("name = \"crowd\"", "name = \"a b\"", 12, "rule[0].name", "1 to 64 of the characters"),
    ("kind = \"count\"", "", 11, "rule[0].kind", "is required"),
    ("kind = \"count\"", "kind = \"counts\"", 13, "rule[0].kind", "did you mean `count`?"),
    ("threshold = 3", "", 11, "rule[0].threshold", "is required"),
    ("threshold = 3", "threshold = -1", 15, "rule[0].threshold", "between 0 and 10000"),
    ("threshold = 3", "threshold = 3\nbudget_ms = 3", 16, "rule[0].budget_ms", "unknown key"),
    ("threshold = 3", "threshold = 3\nlevel = \"bad\"", 16, "rule[0].level", "valid values are `info`"),
    ("threshold = 3", "threshold = 3\ncameras = [\"a b\"]", 16, "rule[0].cameras", "cannot match an id"),
    ("threshold = 3", "threshold = 3\ncameras = []", 16, "rule[0].cameras", "never applies"),
    (
        "[[zone]]",
        "[[rule]]\nname = \"crowd\"\nkind = \"count\"\n[[zone]]",
        18,
        "rule[1].name",
        "another rule",
    ),
    ("camera = \"gate\"\nname = \"door\"", "name = \"door\"", 17, "zone[0].camera", "is required"),
    ("[[0, 0], [1, 0], [1, 1]]", "[[0, 0], [1, 0]]", 20, "zone[0].points", "at least three corners"),
    ("[[0, 0], [1, 0], [1, 1]]", "[1, 2]", 20, "zone[0].points", "expected points"),
    ("[[0, 0.5], [1, 0.5]]", "[[0, 0.5]]", 25, "line[0].points", "two ends, this one has 1"),
    ("[[0, 0.5], [1, 0.5]]", "[[0, 0.5], [1, 2]]", 25, "line[0].points", "be in the image"),
    ("https://example.com", "ftp://example.com", 28, "webhook[0].url", "use `https://HOST/PATH`"),
    ("[\"crowd\"]", "[\"cowd\"]", 30, "webhook[0].rules", "did you mean `crowd`?"),
];

#[test]
fn reports_each_mistake_at_its_line_and_key() {
    read(GOOD).unwrap();
    for (good, bad, line, key, part) in RULES {
        assert!(GOOD.contains(good), "{good}");
        let error = read(&GOOD.replacen(good, bad, 1)).unwrap_err();
        let found =
            error.diagnostics.iter().any(|m| m.line == *line && m.key == *key && m.what.contains(part));
        assert!(found, "{bad}: {line} {key} {part}\n{error}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}

#[test]
fn reads_a_valid_file() {
    let settings = read(GOOD).unwrap();
    let rule = &settings.rules[0];
    assert_eq!((rule.name.as_str(), &rule.kind), ("crowd", &(Some("door".into()), 3)));
    assert_eq!(settings.places.zones[&"gate".parse().unwrap()].len(), 1);
    assert_eq!(settings.webhooks[0].url.reveal(), "https://example.com/hook?key=s3cret");
    assert!(!format!("{settings:?}").contains("s3cret") && !format!("{settings:?}").contains("0123456789"));
    // All keys have defaults.
    assert_eq!(read("[monitor]").unwrap().http.port(), 9700);
}
