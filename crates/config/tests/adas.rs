//! Configuration files of `lookout adas`: inheritance of settings, and one invalid file per rule.

use std::path::Path;

use lookout_config::{AdasSettings, ConfigError, Lens, PathSettings};

const GOOD: &str = r#"[adas]
group = "vans"

[kafka]
brokers = "kafka:9092"

[[camera]]
id = "front"
height_m = 1.3
hfov_deg = 60

[[camera]]
id = "*"
warn_ttc_s = 3
"#;

fn read(text: &str) -> Result<AdasSettings, ConfigError> {
    AdasSettings::parse(Path::new("adas.toml"), text, &|_| None)
}

#[test]
fn cameras_inherit_the_settings_of_the_wildcard() {
    let settings = read(GOOD).unwrap();
    assert_eq!((settings.group.as_str(), settings.latency_budget.as_millis()), ("vans", 300));
    let front = settings.of(&"front".parse().unwrap()).unwrap();
    assert!((front.levels.warn_ttc_s, front.levels.critical_ttc_s) == (3.0, 1.6));
    let PathSettings::Calibrated(calibration) = front.path else { panic!("{front:?}") };
    assert_eq!((calibration.lens, calibration.corridor_m), (Lens::HfovDeg(60.0), 2.4));
    let other = settings.of(&"other".parse().unwrap()).unwrap();
    assert!(matches!(other.path, PathSettings::Drawn(_)) && other.labels.contains("truck"));
    let alone = read(&GOOD.replace("\"*\"", "\"rear\"")).unwrap();
    assert_eq!(alone.of(&"other".parse().unwrap()), None);
}

/// `(text in the valid file, replacement, line of the error, key of the error, part of the message)`
const RULES: &[(&str, &str, usize, &str, &str)] = &[
    ("[adas]", "[adsa]", 1, "adas", "is required"),
    ("group = \"vans\"", "groupe = \"vans\"", 2, "adas.groupe", "did you mean `group`?"),
    ("\"vans\"", "\"\"", 2, "adas.group", "1 to 200"),
    ("group = \"vans\"", "latency_budget_ms = 0", 2, "adas.latency_budget_ms", "between 1 and"),
    ("group = \"vans\"", "http = \"here\"", 2, "adas.http", "use IP:PORT"),
    ("group = \"vans\"", "publish_tracks = 1", 2, "adas.publish_tracks", "true or false"),
    ("\"kafka:9092\"", "\"kafka\"", 5, "kafka.brokers", "is not a valid `host:port`"),
    ("id = \"front\"", "", 7, "camera[0].id", "is required"),
    ("id = \"front\"", "id = \"a b\"", 8, "camera[0].id", "is not a valid camera id"),
    ("id = \"front\"", "id = \"*\"", 13, "camera[1].id", "has the same id `*`"),
    ("id = \"*\"", "id = \"front\"", 13, "camera[1].id", "has the same id `front`"),
    ("height_m = 1.3", "", 7, "camera[0].height_m", "the camera's height above the ground"),
    ("height_m = 1.3", "height_m = 13", 9, "camera[0].height_m", "between 0.2 and 5"),
    ("hfov_deg = 60", "", 7, "camera[0].hfov_deg", "or `focal_px`"),
    ("hfov_deg = 60", "hfov_deg = 60\nfocal_px = 900", 10, "camera[0].hfov_deg", "remove one of them"),
    ("hfov_deg = 60", "hfov_deg = 60\ncorridor = {}", 11, "camera[0].corridor", "calculated"),
    ("hfov_deg = 60", "hfov_deg = 60\npitch_deg = 90", 11, "camera[0].pitch_deg", "between -30 and 60"),
    ("hfov_deg = 60", "hfov_deg = 60\nyaw_deg = \"x\"", 11, "camera[0].yaw_deg", "expected a number"),
    ("hfov_deg = 60", "hfov_deg = 60\ncorridor_m = 0", 11, "camera[0].corridor_m", "between 0.5 and 10"),
    ("hfov_deg = 60", "hfov_deg = 60\nlabels = \"car\"", 11, "camera[0].labels", "an array of strings"),
    ("hfov_deg = 60", "hfov_deg = 60\nmin_box_px = 0", 11, "camera[0].min_box_px", "between 4 and"),
    ("warn_ttc_s = 3", "warn_ttc_s = 1.5", 12, "camera[1].critical_ttc_s", "below `warn_ttc_s`"),
    ("warn_ttc_s = 3", "info_ttc_s = 2", 14, "camera[1].info_ttc_s", "above `warn_ttc_s`"),
    ("warn_ttc_s = 3", "warn_ttc_s = 90", 14, "camera[1].warn_ttc_s", "between 0.1 and 60"),
    (
        "warn_ttc_s = 3",
        "corridor = { bottom = [1, 0] }",
        14,
        "camera[1].corridor.bottom",
        "the left end first",
    ),
    ("warn_ttc_s = 3", "corridor = { top = [0] }", 14, "camera[1].corridor.top", "an array of 2 numbers"),
    (
        "warn_ttc_s = 3",
        "corridor = { top = [0, 1] }",
        14,
        "camera[1].corridor.top",
        "narrows with the distance",
    ),
    ("warn_ttc_s = 3", "corridor = { top_y = 1 }", 14, "camera[1].corridor.top_y", "between 0 and 0.95"),
];

#[test]
fn reports_each_mistake_at_its_line_and_key() {
    for (good, wrong, line, key, what) in RULES {
        assert!(GOOD.contains(good), "{good}");
        let error = read(&GOOD.replacen(good, wrong, 1)).expect_err(wrong);
        let found =
            error.diagnostics.iter().any(|m| m.line == *line && m.key == *key && m.what.contains(what));
        assert!(found, "{wrong}: {error}");
    }
    assert!(read("[adas]").unwrap_err().to_string().contains("there is no camera"));
    let twice = GOOD.replace("group", "groupe").replace("warn_ttc_s = 3", "warn_ttc_s = 90");
    assert_eq!(read(&twice).unwrap_err().diagnostics.len(), 2);
}

#[test]
fn the_shipped_file_is_valid() {
    let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../pipelines/adas.toml"));
    let settings = lookout_config::read_adas(file).unwrap();
    assert!(settings.others.is_some() && settings.cameras.len() == 2);
}
