//! `lookout cameras list`.

use std::io::{self, Write};

use lookout_broker::RegistryView;
use lookout_config::{Secrets, registry_camera};
use lookout_schema::{CameraSpec, shortened};

pub(crate) fn print(view: &RegistryView, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        for spec in view.cameras.values() {
            writeln!(out, "{}", serde_json::to_string(spec)?)?;
        }
    } else {
        let width = view.cameras.keys().map(|id| id.as_str().len()).max().unwrap_or(0).max(6);
        writeln!(
            out,
            "{:width$}  {:>7}  {:>8}  {:>6}  {:8}  address",
            "camera", "version", "priority", "fps", "state"
        )?;
        for spec in view.cameras.values() {
            writeln!(out, "{:width$}  {}", spec.id.as_str(), line(spec))?;
        }
    }
    for (key, why) in &view.bad {
        let key = shortened(key);
        writeln!(io::stderr(), "lookout cameras: the registry's record `{key}` is invalid: {why}")?;
    }
    Ok(())
}

fn line(spec: &CameraSpec) -> String {
    let (state, address) = match registry_camera(spec, &Secrets::Unknown) {
        // The address is printed unexpanded, so it contains references and no secrets.
        Ok(_) if spec.enabled => ("enabled", spec.uri.clone()),
        Ok(_) => ("disabled", spec.uri.clone()),
        Err(why) => ("invalid", why),
    };
    let fps = spec.fps.map_or("-".into(), |fps| fps.to_string());
    let labels: String = spec.labels.iter().map(|(key, text)| format!("  {key}={text}")).collect();
    format!("{:>7}  {:>8}  {fps:>6}  {state:8}  {address}{labels}", spec.version, spec.priority)
}
