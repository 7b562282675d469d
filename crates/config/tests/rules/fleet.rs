//! The rules of `[fleet]`.

use std::path::Path;

use super::{GOOD, read};

const OF_A_FLEET: &str = r#"name = "gate"
cameras = "registry"

[model]
arch = "resnet50"
weights = "random:0"

[kafka]
brokers = "kafka:9092"

[fleet]
partitions = 6
secrets = "secrets"
"#;

#[test]
fn reads_a_file_with_the_cameras_of_the_registry() {
    let settings = read(OF_A_FLEET).unwrap();
    let fleet = settings.fleet.unwrap();
    assert!(settings.cameras.is_empty());
    assert_eq!((fleet.partitions, fleet.session_timeout.as_secs()), (6, 6));
    assert_eq!(fleet.secrets.unwrap(), Path::new("secrets"));
    assert!(read(GOOD).unwrap().fleet.is_none());
    for (from, to, line, key, part) in [
        ("secrets = ", "[[camera]]\nid = \"a\"\nuri = ", 13, "camera", "no cameras of its own"),
        ("kafka:9092", "embedded", 2, "cameras", "set `brokers` in [kafka]"),
        ("partitions = 6", "static_member = true", 11, "fleet", "needs an `id` in [worker]"),
        ("partitions = 6", "partitions = 0", 12, "fleet.partitions", "between 1 and 10000"),
        ("partitions = 6", "session_timeout_ms = 10", 12, "fleet.session_timeout_ms", "between 1000 and"),
        ("partitions = 6", "max_cameras = 0", 12, "fleet.max_cameras", "between 1 and"),
    ] {
        let error = read(&OF_A_FLEET.replace(from, to)).expect_err(to);
        let found = error.diagnostics.iter().any(|m| m.line == line && m.key == key && m.what.contains(part));
        assert!(found && error.diagnostics.len() == 1, "{to}: expected {line}: {key}: {part}\n{error}");
    }
}
