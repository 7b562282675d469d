//! Validation of a camera of the registry, by the rules of `[[camera]]` in a pipeline file.

use std::{collections::BTreeMap, env, fs, path::Path, path::PathBuf};

use lookout_schema::CameraSpec;
use toml::{Table, Value, de::DeTable};

use crate::{
    CameraSettings, FleetSettings,
    expand::Env,
    reader::{Reader, Section},
};

/// Where references in the address of a camera are looked up.
#[derive(Debug, Clone)]
pub enum Secrets {
    /// On the worker: `${NAME}` in the environment, if the name starts with `env_prefix`, and
    /// `${secret:NAME}` in a folder or a file, `place`.
    Worker {
        /// Prefix of the environment variables that references may name.
        env_prefix: String,
        /// The file or folder of `${secret:NAME}`.
        place: Option<PathBuf>,
    },
    /// Nowhere: any reference is accepted. For commands that write the registry and do not have the secrets.
    Unknown,
}

impl Secrets {
    /// Returns the references that a worker with these settings can resolve.
    pub fn of(fleet: &FleetSettings) -> Self {
        Self::Worker { env_prefix: fleet.env_prefix.clone(), place: fleet.secrets.clone() }
    }

    /// Returns the value of the reference `name`.
    ///
    /// # Errors
    /// Returns a description of the error.
    fn get(&self, name: &str) -> Result<String, String> {
        let Self::Worker { env_prefix, place } = self else { return Ok("x".into()) };
        let Some(name) = name.strip_prefix("secret:") else {
            if !name.starts_with(env_prefix.as_str()) {
                return Err(format!(
                    "the environment variable {name} is not available to cameras: its name must start with \
                     `{env_prefix}` (`env_prefix` in [fleet])"
                ));
            }
            return env::var(name)
                .map_err(|_| format!("the environment variable {name} is not set for this worker"));
        };
        let place =
            place.as_deref().ok_or("`secrets` in [fleet] is not set; set it to the path of the secrets")?;
        let missing = || format!("there is no secret `{name}` in {}", place.display());
        if place.is_dir() {
            let text = fs::read_to_string(place.join(name)).map_err(|_| missing())?;
            return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
        }
        let text = fs::read_to_string(place).map_err(|error| format!("{}: {error}", place.display()))?;
        // The parser's error is not shown because it would contain the line with the secret.
        let secrets: BTreeMap<String, String> = toml::from_str(&text)
            .map_err(|_| format!("{} is not a file of lines `NAME = \"...\"`", place.display()))?;
        secrets.get(name).cloned().ok_or_else(missing)
    }
}

/// Returns the environment variables in a camera's address that a worker with `env_prefix` does not resolve.
pub fn variables_outside<'s>(spec: &'s CameraSpec, env_prefix: &str) -> Vec<&'s str> {
    let outside = |name: &&str| !name.starts_with("secret:") && !name.starts_with(env_prefix);
    references(&spec.uri).filter(outside).collect()
}

/// Returns the settings of a camera of the registry.
///
/// # Errors
/// Returns all errors of the camera.
pub fn registry_camera(spec: &CameraSpec, secrets: &Secrets) -> Result<CameraSettings, String> {
    if spec.schema != CameraSpec::SCHEMA {
        return Err(format!("its schema is `{}`, supported is `{}`", spec.schema, CameraSpec::SCHEMA));
    }
    let mut wrong: Vec<String> = literal_secret(&spec.uri).into_iter().collect();
    wrong.extend(references(&spec.uri).filter_map(|name| secrets.get(name).err()));
    if spec.priority > CameraSpec::MAX_PRIORITY {
        wrong.push(format!("priority: expected a number from 0 to {}", CameraSpec::MAX_PRIORITY));
    }
    if !spec.uri.contains("://") && !spec.uri.starts_with(['/', '$']) {
        wrong.push("uri: a path in the registry must start with `/`; it is a path on the worker".into());
    }
    let text = pipeline_text(spec).unwrap_or_else(|what| {
        wrong.push(what);
        String::new()
    });
    if !wrong.is_empty() {
        return Err(wrong.join("; "));
    }
    let document = DeTable::parse(&text).map_err(|error| error.message().to_owned())?;
    let resolve = |name: &str| secrets.get(name).ok();
    let reader = Reader::new(&text, &resolve as Env<'_>);
    let section = Section::root(&reader, document.get_ref());
    let settings = CameraSettings::read(&section, Path::new("/"));
    section.finish();
    let diagnostics = reader.into_diagnostics();
    match settings {
        Some(settings) if diagnostics.is_empty() => Ok(settings),
        _ => {
            let each =
                diagnostics.iter().map(|diagnostic| format!("{}: {}", diagnostic.key, diagnostic.what));
            Err(each.collect::<Vec<_>>().join("; "))
        }
    }
}

/// Returns the camera as the TOML text of a `[[camera]]` table of a pipeline file.
fn pipeline_text(spec: &CameraSpec) -> Result<String, String> {
    let fail = |what: &str, error: toml::ser::Error| format!("{what}: {error}");
    let mut table = Table::new();
    for (key, value) in &spec.options {
        if ["id", "uri", "fps", "priority", "regions", "classes"].contains(&key.as_str()) {
            return Err(format!("options.{key}: this key has its own field in the record; set it there"));
        }
        table.insert(key.clone(), Value::try_from(value).map_err(|error| fail(key, error))?);
    }
    table.insert("id".into(), spec.id.to_string().into());
    table.insert("uri".into(), spec.uri.clone().into());
    table.insert("priority".into(), i64::from(spec.priority).into());
    if let Some(fps) = spec.fps {
        table.insert("fps".into(), fps.into());
    }
    if !spec.regions.is_empty() {
        table.insert(
            "regions".into(),
            Value::try_from(&spec.regions).map_err(|error| fail("regions", error))?,
        );
    }
    if !spec.classes.is_empty() {
        table.insert("classes".into(), spec.classes.clone().into());
    }
    toml::to_string(&table).map_err(|error| fail("record", error))
}

/// Returns the names in `${...}`.
fn references(text: &str) -> impl Iterator<Item = &str> {
    let inner = text.split("${").skip(1).filter_map(|rest| rest.split_once('}'));
    inner.map(|(name, _)| name.split(":-").next().unwrap_or(name))
}

/// Placeholder for a reference; a character that no address contains.
const REFERENCE: char = '\u{1}';

/// Returns an error message if `uri` contains a literal password, which everyone with read access to the
/// registry could see.
fn literal_secret(uri: &str) -> Option<String> {
    let mut plain = String::new();
    let mut rest = uri;
    while let Some((before, after)) = rest.split_once("${") {
        plain.push_str(before);
        let end = after.find('}')?;
        // A default value is also readable in the registry, so it counts as literal text.
        plain.push(if after[..end].contains(":-") { '?' } else { REFERENCE });
        rest = &after[end + 1..];
    }
    plain.push_str(rest);
    let is_reference = |text: &str| text.is_empty() || text == REFERENCE.to_string();
    let (_, address) = plain.split_once("://")?;
    let authority = address.split('/').next().unwrap_or(address);
    let in_user_info = authority
        .rsplit_once('@')
        .and_then(|(user_info, _)| user_info.split_once(':'))
        .is_some_and(|(_, password)| !is_reference(password));
    let in_parameter = address.split(['/', '?', '&', ';']).any(|part| {
        part.split_once('=').is_some_and(|(key, value)| {
            let key = key.to_ascii_lowercase();
            let names = ["pass", "pwd", "token", "secret"];
            names.iter().any(|name| key.contains(name)) && !is_reference(value)
        })
    });
    (in_user_info || in_parameter).then(|| {
        "uri: it contains a password, which everyone with access to the registry could read; use \
         `${secret:NAME}` or `${CAMERA_NAME}` instead, which each worker resolves"
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(uri: &str) -> CameraSpec {
        CameraSpec::new("gate".parse().unwrap(), uri)
    }

    #[test]
    fn rejects_a_literal_password() {
        for uri in [
            "rtsp://me:hunter2@camera/x",
            "rtsp://me:${A:-hunter2}@camera/x",
            "rtsp://me:${A}hunter2@camera/x",
            "rtsp://camera/user=me&password=hunter2",
            "rtsp://camera/x?token=hunter2",
        ] {
            let wrong = registry_camera(&spec(uri), &Secrets::Unknown).unwrap_err();
            assert!(wrong.contains("${secret:NAME}") && !wrong.contains("hunter2"), "{uri}: {wrong}");
        }
        for uri in [
            "rtsp://me:${secret:gate}@camera/x",
            "rtsp://me:${CAMERA_GATE}@camera:554/x",
            "rtsp://me@camera/x",
            "rtsp://camera/x?channel=1",
            "rtsp://camera/x?password=${secret:gate}",
            "test://ball",
            "/clips/a.mp4",
        ] {
            registry_camera(&spec(uri), &Secrets::Unknown).unwrap_or_else(|wrong| panic!("{uri}: {wrong}"));
        }
    }

    #[test]
    fn resolves_references_on_the_worker() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("gate"), "p@ss/1\n").unwrap();
        let file = folder.path().join("all.toml");
        fs::write(&file, "gate = \"p@ss/1\"\n").unwrap();
        let camera = spec("rtsp://me:${secret:gate}@camera/x");
        for place in [folder.path().to_owned(), file] {
            let secrets = Secrets::Worker { env_prefix: "CAMERA_".into(), place: Some(place) };
            let settings = registry_camera(&camera, &secrets).unwrap();
            let crate::SourceUri::Rtsp { credentials: Some(found), .. } = settings.uri else {
                panic!("no credentials")
            };
            assert_eq!(found.password.reveal(), "p@ss/1");
            let wrong = registry_camera(&spec("rtsp://me:${secret:other}@camera/x"), &secrets).unwrap_err();
            assert!(wrong.contains("no secret `other`"), "{wrong}");
            // Otherwise, anyone who may write a camera could have a worker send them any of its secrets.
            let wrong = registry_camera(&spec("rtsp://${PATH}@camera/x"), &secrets).unwrap_err();
            assert!(wrong.contains("PATH is not available to cameras"), "{wrong}");
        }
    }

    #[test]
    fn validates_a_record_like_a_pipeline_file() {
        let mut camera = spec("test://ball?fps=0");
        camera.fps = Some(-1.0);
        camera.options.insert("stall_timeout_ms".into(), 1.into());
        camera.options.insert("lop".into(), true.into());
        let wrong = registry_camera(&camera, &Secrets::Unknown).unwrap_err();
        for part in ["uri: ", "fps: ", "stall_timeout_ms: ", "lop: unknown key; did you mean `loop`?"] {
            assert!(wrong.contains(part), "{part}: {wrong}");
        }
        let mut good = spec("/clip.avi");
        good.fps = Some(5.0);
        good.options.insert("loop".into(), true.into());
        good.classes = vec!["a \"b\"".into()];
        let settings = registry_camera(&good, &Secrets::Unknown).unwrap();
        assert!(settings.loop_file && settings.fps == Some(5.0) && settings.classes == good.classes);
        assert!(
            registry_camera(&spec("clip.avi"), &Secrets::Unknown).unwrap_err().contains("start with `/`")
        );
    }
}
