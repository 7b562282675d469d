//! Stores zones and lines that a user has drawn in the registry.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use lookout_broker::{Edit, EditError, Registry};
use lookout_config::FleetSettings;
use lookout_schema::{CameraId, CameraSpec, Region, Timestamp};
use serde::Deserialize;
use serde_json::json;
use tokio::task::spawn_blocking;

use super::{
    App,
    problem::{Body, Problem, camera_id},
};
use crate::shared::StateQuery;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Places {
    version: u64,
    zones: BTreeMap<String, Vec<[f32; 2]>>,
    lines: BTreeMap<String, [[f32; 2]; 2]>,
}

/// The maximum number of zones, and of lines, per camera.
const MAX_PLACES: usize = 64;
const MAX_NAME: usize = 64;
const MAX_CORNERS: usize = 256;

/// Why an edit is rejected.
#[derive(Debug)]
enum Refused {
    Gone,
    /// Someone else has changed the camera; this is its current version.
    Changed(u64),
}

/// Validated zones and lines.
#[derive(Debug)]
struct Drawn {
    version: u64,
    zones: BTreeMap<String, Region>,
    lines: BTreeMap<String, [[f32; 2]; 2]>,
}

pub(super) async fn put(
    State(app): State<App>,
    Path(id): Path<String>,
    Body(places): Body<Places>,
) -> Result<Response, Problem> {
    let id = camera_id(&id)?;
    let drawn = check(places).map_err(|what| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, what))?;
    if app.ask(|answer| StateQuery::Spec(id.clone(), answer)).await?.is_none() {
        return Err(gone(&id));
    }
    let registry = Registry::open(&app.settings.kafka, FleetSettings::PARTITIONS).await;
    let registry = registry.map_err(|error| Problem::not_ready(Some(error.to_string())))?;
    let of = id.clone();
    let edited = spawn_blocking(move || edit(&registry, &of, &drawn)).await;
    let edited = edited.map_err(|panic| Problem::not_ready(Some(panic.to_string())))?;
    match edited {
        Ok(version) => Ok(Json(json!({ "version": version })).into_response()),
        Err(EditError::Refused(Refused::Gone)) => Err(gone(&id)),
        Err(EditError::Refused(Refused::Changed(version))) => {
            let what = format!(
                "camera {id} has been changed by someone else to version {version}; reload it and try again"
            );
            Err(Problem::new(StatusCode::CONFLICT, what).with("version", version))
        }
        Err(EditError::Broker(error)) => Err(Problem::not_ready(Some(error.to_string()))),
    }
}

fn gone(id: &CameraId) -> Problem {
    Problem::not_found(format!(
        "camera {id} is not in the registry: set its zones and lines in the monitor's file, as [[zone]] and [[line]]"
    ))
}

/// Writes the edit and returns the camera's version after it. Blocks.
fn edit(registry: &Registry, id: &CameraId, drawn: &Drawn) -> Result<u64, EditError<Refused>> {
    let next = drawn.version.saturating_add(1);
    let made = registry.edit(|view| {
        let there = view.cameras.get(id).ok_or(Refused::Gone)?;
        if there.version != drawn.version {
            return Err(Refused::Changed(there.version));
        }
        let (zones, lines) = (drawn.zones.clone(), drawn.lines.clone());
        if there.zones == zones && there.lines == lines {
            return Ok(Vec::new());
        }
        let spec = CameraSpec { version: next, updated_at: Timestamp::now(), zones, lines, ..there.clone() };
        Ok(vec![Edit::Put(Box::new(spec))])
    })?;
    Ok(if made == 0 { drawn.version } else { next })
}

fn check(places: Places) -> Result<Drawn, String> {
    for (what, count) in [("zones", places.zones.len()), ("lines", places.lines.len())] {
        if count > MAX_PLACES {
            return Err(format!("{what}: {count} are too many, a camera can have {MAX_PLACES}"));
        }
    }
    let names = places.zones.keys().chain(places.lines.keys());
    for name in names {
        if name.trim().is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(format!(
                "the name of a zone or line must have 1 to {MAX_NAME} bytes and no control characters"
            ));
        }
    }
    let zone = |(name, corners): (String, Vec<[f32; 2]>)| {
        if corners.len() > MAX_CORNERS {
            return Err(format!("zone {name}: more than {MAX_CORNERS} corners"));
        }
        Region::new(corners)
            .map(|region| (name.clone(), region))
            .map_err(|error| format!("zone {name}: {error}"))
    };
    let zones = places.zones.into_iter().map(zone).collect::<Result<_, _>>()?;
    for (name, [from, to]) in &places.lines {
        if from == to || !from.iter().chain(to).all(|part| (0.0..=1.0).contains(part)) {
            return Err(format!(
                "line {name}: its end points must differ, and each coordinate must be from 0 to 1"
            ));
        }
    }
    Ok(Drawn { version: places.version, zones, lines: places.lines })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_zones_and_lines_outside_the_image() {
        let read = |zones: &str, lines: &str| {
            let text = format!("{{\"version\":1,\"zones\":{zones},\"lines\":{lines}}}");
            check(serde_json::from_str(&text).unwrap())
        };
        assert_eq!(
            read(r#"{"door":[[0,0],[1,0],[1,1]]}"#, r#"{"kerb":[[0,0],[1,1]]}"#).unwrap().zones.len(),
            1
        );
        for (zones, lines, part) in [
            (r#"{"door":[[0,0],[1,0]]}"#, "{}", "zone door: a region needs at least three corners"),
            (r#"{"door":[[0,0],[1,0],[1,2]]}"#, "{}", "outside of the image"),
            (r#"{" ":[[0,0],[1,0],[1,1]]}"#, "{}", "1 to 64 bytes"),
            ("{}", r#"{"kerb":[[0,0],[0,0]]}"#, "line kerb: its end points must differ"),
            ("{}", r#"{"kerb":[[0,0],[0,1e9]]}"#, "must be from 0 to 1"),
        ] {
            let what = read(zones, lines).unwrap_err();
            assert!(what.contains(part), "{what}");
        }
    }
}
