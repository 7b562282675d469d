//! The deployment files contain no secrets and no paths of a machine.

use serde_json::Value;

use super::files::{all, text, yaml};

const SECRET_WORDS: [&str; 4] = ["PASSWORD", "SECRET", "TOKEN", "CREDENTIAL"];

#[test]
fn addresses_contain_no_password() {
    for file in all() {
        for address in text(&file).split("://").skip(1) {
            let authority = address.split(['/', '"', '\'', '\n', ' ']).next().unwrap();
            let Some((user, _)) = authority.rsplit_once('@') else { continue };
            let password = user.split_once(':').map_or("", |(_, password)| password);
            assert!(password.starts_with("${") && password.ends_with('}'), "{file}: {authority}");
        }
    }
}

#[test]
fn images_and_environments_contain_no_secret() {
    for line in text("Dockerfile").lines() {
        let line = line.trim().to_uppercase();
        let sets = line.starts_with("ENV ") || line.starts_with("ARG ");
        assert!(!sets || !SECRET_WORDS.iter().any(|word| line.contains(word)), "{line}");
    }
    for file in all().into_iter().filter(|file| file.ends_with(".yml") || file.ends_with(".yaml")) {
        let yaml = yaml(&file);
        assert_ne!(yaml["kind"], "Secret", "{file}");
        visit(&file, &yaml);
    }
}

/// Asserts that the value of every key that looks like a secret is a reference.
fn visit(file: &str, value: &Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let key = key.to_uppercase();
                // In Kubernetes, `secretName` refers to a Secret.
                let names = key == "SECRETNAME";
                let secret = !names && SECRET_WORDS.iter().any(|word| key.contains(word));
                let literal = value.as_str().is_some_and(|text| !text.starts_with("${"));
                assert!(!(secret && literal), "{file}: {key} is {value}");
                visit(file, value);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| visit(file, value)),
        _ => {}
    }
}

#[test]
fn files_contain_no_path_of_a_machine() {
    for file in all() {
        let text = text(&file);
        for place in
            ["hostPath", "docker.sock", "/home/", "/root/", "/Users/", "../..", ":latest", "privileged: true"]
        {
            assert!(!text.contains(place), "{file}: {place}");
        }
    }
}
