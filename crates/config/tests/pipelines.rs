//! Every pipeline that comes with Lookout is valid.

use std::{fs, path::Path};

use lookout_config::{FileKind, kind, parse};

#[test]
fn every_pipeline_file_is_valid() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../pipelines"));
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // What consumers read is tested beside its own rules.
        let is_toml = path.extension().is_some_and(|extension| extension == "toml");
        if is_toml && kind(&path).unwrap() == FileKind::Pipeline {
            let text = fs::read_to_string(&path).unwrap();
            // Passwords come from the environment of whoever runs it.
            if let Err(error) =
                parse(&path, &text, &|name| name.ends_with("PASSWORD").then(|| "secret".into()))
            {
                panic!("{error}");
            }
            seen += 1;
        }
    }
    assert!(seen >= 3, "{seen} pipelines in {}", folder.display());
}
