//! Checks that the configuration files in the repository are valid.

use std::{fs, path::Path};

use lookout_config::{ConfigError, parse_any};
use lookout_monitor::KINDS;

fn check(path: &Path, text: &str) -> Result<(), ConfigError> {
    // The files take passwords from the environment.
    let env = |name: &str| name.ends_with("PASSWORD").then(|| "secret".into());
    parse_any(path, text, &env, &KINDS).map(drop)
}

#[test]
fn every_pipeline_file_is_valid() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../pipelines"));
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = fs::read_to_string(&path).unwrap();
            if let Err(error) = check(&path, &text) {
                panic!("{error}");
            }
            seen += 1;
        }
    }
    assert!(seen >= 3, "{seen} pipelines in {}", folder.display());
}
