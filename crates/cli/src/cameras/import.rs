//! Files that `lookout cameras import` reads: TOML with `[[camera]]` tables, or lines of JSON.

use std::{fs, path::Path};

use lookout_schema::CameraSpec;
use serde_json::{Map, Value};

/// Reads the cameras in `file`.
///
/// # Errors
/// Returns an error message if the file cannot be read, is invalid or has no cameras.
pub(crate) fn read(file: &Path) -> Result<Vec<CameraSpec>, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let base = fs::canonicalize(file).ok().and_then(|file| Some(file.parent()?.to_owned()));
    let specs = if file.extension().is_some_and(|extension| extension == "toml") {
        from_toml(&text, base.as_deref())
    } else {
        from_json_lines(&text)
    };
    let specs = specs.map_err(|what| format!("{}: {what}", file.display()))?;
    for (at, spec) in specs.iter().enumerate() {
        if specs[..at].iter().any(|before| before.id == spec.id) {
            return Err(format!("{}: camera {} is defined twice", file.display(), spec.id));
        }
    }
    if specs.is_empty() {
        return Err(format!("{}: it has no cameras", file.display()));
    }
    Ok(specs)
}

fn from_toml(text: &str, base: Option<&Path>) -> Result<Vec<CameraSpec>, String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let cameras = table.get("camera").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let read = |(at, camera): (usize, toml::Value)| {
        let value = serde_json::to_value(camera).map_err(|error| error.to_string());
        let mut spec = value.and_then(spec).map_err(|what| format!("camera[{at}]: {what}"))?;
        // Relative paths are relative to the file's folder. The registry can only contain absolute paths.
        if let Some(base) = base.filter(|_| !spec.uri.contains("://") && !spec.uri.starts_with(['/', '$'])) {
            spec.uri = base.join(&spec.uri).display().to_string();
        }
        Ok(spec)
    };
    cameras.into_iter().enumerate().map(read).collect()
}

fn from_json_lines(text: &str) -> Result<Vec<CameraSpec>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let read = |(at, line): (usize, &str)| {
        let value = serde_json::from_str(line).map_err(|error| error.to_string());
        value.and_then(spec).map_err(|what| format!("line {}: {what}", at + 1))
    };
    lines.map(read).collect()
}

/// Converts a `[[camera]]` table or a registry record. Keys that are not fields of the record become
/// `options`.
fn spec(value: Value) -> Result<CameraSpec, String> {
    let Value::Object(mut table) = value else { return Err("expected a table or a JSON object".into()) };
    let mut text = |key: &str| match table.remove(key) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(format!("`{key}`: expected a string")),
        None => Err(format!("`{key}` is missing")),
    };
    let id = text("id")?.parse().map_err(|error| format!("id: {error}"))?;
    let new = CameraSpec::new(id, text("uri")?);
    // These fields are set when the record is written.
    for key in ["schema", "version", "updated_at"] {
        table.remove(key);
    }
    let mut record = serde_json::to_value(&new).map_err(|error| error.to_string())?;
    let mut options = match table.remove("options") {
        Some(Value::Object(options)) => options,
        _ => Map::new(),
    };
    if let Value::Object(record) = &mut record {
        for (key, value) in table {
            let place = if record.contains_key(&key) { &mut *record } else { &mut options };
            place.insert(key, value);
        }
        record.insert("options".into(), options.into());
    }
    serde_json::from_value(record).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_variable_references_and_extra_keys_of_pipeline_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gate.toml");
        let text = "name = \"x\"\n[[camera]]\nid = \"a\"\nuri = \"rtsp://me:${CAMERA_A}@h/x\"\nfps = 5\n\
                    transport = \"udp\"\nregions = [[[0, 0], [1, 0], [1, 1]]]\n[[camera]]\nid = \"b\"\n\
                    uri = \"clip.avi\"\nloop = true";
        fs::write(&file, text).unwrap();
        let specs = read(&file).unwrap();
        assert_eq!((specs[0].uri.as_str(), specs[0].fps), ("rtsp://me:${CAMERA_A}@h/x", Some(5.0)));
        assert_eq!(specs[0].options["transport"], "udp");
        assert_eq!(specs[0].regions.len(), 1);
        assert!(specs[1].uri.starts_with('/') && specs[1].uri.ends_with("/clip.avi"), "{}", specs[1].uri);
        // The output of `list --json` can be imported.
        let lines: String = specs.iter().map(|spec| serde_json::to_string(spec).unwrap() + "\n").collect();
        let again = from_json_lines(&lines).unwrap();
        assert!(again.iter().zip(&specs).all(|(a, b)| a.says_the_same_as(b)), "{again:?}");
    }

    #[test]
    fn errors_name_the_line() {
        for (text, part) in [
            ("{\"id\": \"a\"}", "line 1: `uri` is missing"),
            ("\n{\"id\": \"a b\", \"uri\": \"x\"}", "line 2: id: `a b`"),
            ("[]", "line 1: expected a table"),
            ("{\"id\": \"a\", \"uri\": \"x\", \"fps\": \"fast\"}", "line 1: "),
        ] {
            let what = from_json_lines(text).unwrap_err();
            assert!(what.contains(part), "{what}");
        }
    }
}
